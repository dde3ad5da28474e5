/* TLS transports over real sockets: how streams end and fail, and hostile peers. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "transport_rig.h"

/* ---- TLS: ends ---- */

enum how { NOTIFY, NOTIFY_FIN, BARE_FIN, RESET };

/* The peer sends length bytes and ends in one of the ways, all in as few segments as can be. */
static void peer_ends(size_t length, enum how how)
{
    if (length > 0) {
        fill_pattern(rig.buffer, length, 0);
        peer_write(rig.buffer, length);
    }
    if (how == NOTIFY || how == NOTIFY_FIN)
        SSL_shutdown(rig.peer.ssl);
    int sealed = (int)BIO_ctrl_pending(rig.peer.out);
    peer_give_all();
    wait_bytes(rig.t->fd, sealed);
    if (how == NOTIFY_FIN || how == BARE_FIN)
        shutdown(rig.peer.fd, SHUT_WR);
    if (how == RESET) {
        close_reset(rig.peer.fd);
        rig.peer.fd = -1;
    }
    poll(NULL, 0, 5);
}

static void one_end(enum tls_role role, int version, size_t length, enum how how, size_t read_size)
{
    static const enum tp_status ends[] = {
        [NOTIFY] = TP_EOF, [NOTIFY_FIN] = TP_EOF, [BARE_FIN] = TP_TRUNCATED, [RESET] = TP_ERROR};
    uint64_t total = 0;
    rig_connected(role, version, 0);
    ready(rig.t->fd, POLLIN, 20);
    read_all(TP_READ_MIN, &total); /* tickets */
    peer_ends(length, how);
    enum tp_status end = read_to_end(read_size, &total);
    assert_int_equal(total, length);
    assert_int_equal(end, ends[how]);
    for (int i = 0; i < 2; i++) { /* sticky */
        size_t n = 1;
        bool drained;
        assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, read_size, &n, &drained), ends[how]);
        assert_int_equal(n, 0);
    }
    if (how == NOTIFY || how == NOTIFY_FIN) {
        assert_null(rig.t->failure);
    } else {
        assert_non_null(rig.t->failure);
        assert_int_equal(rig.t->failure->fault,
                         how == BARE_FIN ? TLS_FAULT_TRUNCATED : TLS_FAULT_SYSTEM);
        if (how == RESET)
            assert_int_equal(rig.t->failure->sys_errno, ECONNRESET);
    }
    rig_end();
}

static void ends(size_t length, enum how how)
{
    EACH_KIND(role, version)
    {
        one_end(role, version, length, how, TP_READ_MIN);
        one_end(role, version, length, how, TP_PLAIN_SIZE);
    }
}

static void test_end_without_data(void **state)
{
    (void)state;
    ends(0, NOTIFY);
    ends(0, NOTIFY_FIN);
    ends(0, BARE_FIN);
    ends(0, RESET);
}

static void test_data_then_fin_or_reset(void **state)
{
    (void)state;
    static const size_t lengths[] = {1, 100, 16384, (size_t)17 * 1024, 60000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        ends(lengths[i], NOTIFY_FIN);
        ends(lengths[i], BARE_FIN);
        ends(lengths[i], RESET);
    }
}

/* The segment that brings the last data brings close_notify too, and no FIN follows (a half-close):
 * the socket will not say another word, so read() or has_buffered() must. */
static void test_data_and_close_notify_in_one_segment(void **state)
{
    (void)state;
    ends(100, NOTIFY);
}

/* As large as the read: the end is still in the sealed bytes. */
static void test_full_read_then_close_notify(void **state)
{
    (void)state;
    ends(TP_READ_MIN, NOTIFY);
    ends(60000, NOTIFY);
}

static void test_half_close(void **state)
{
    (void)state;
    EACH_KIND(role, version)
    {
        uint64_t total = 0;
        size_t n = 0;
        rig_connected(role, version, 0);
        assert_int_equal(rig.t->ops->write(rig.t, "bye", 3, &n), TP_OK);
        assert_int_equal(rig.t->ops->shut_write(rig.t), TP_OK);
        assert_int_equal(rig.t->ops->shut_write(rig.t), TP_OK);
        assert_true(ready(rig.peer.fd, POLLIN, WAIT_MS));
        wait_bytes(rig.peer.fd, 3);
        poll(NULL, 0, 5);
        peer_take();
        assert_int_equal(SSL_read(rig.peer.ssl, rig.buffer, 100), 3);
        assert_int_equal(SSL_read(rig.peer.ssl, rig.buffer, 100), 0);
        assert_int_equal(SSL_get_error(rig.peer.ssl, 0), SSL_ERROR_ZERO_RETURN);
        assert_int_equal(read(rig.peer.fd, rig.buffer, 1), -1); /* close_notify, but no FIN */
        assert_int_equal(errno, EAGAIN);

        for (int i = 0; i < 20; i++) {
            if (i == 10 && version == TLS1_3_VERSION) /* it cannot be answered any more */
                SSL_key_update(rig.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
            fill_pattern(rig.buffer, 30000, (uint64_t)i * 30000);
            peer_write(rig.buffer, 30000);
            while (BIO_ctrl_pending(rig.peer.out) > 0 || ready(rig.t->fd, POLLIN, 1)) {
                peer_give(SIZE_MAX);
                enum tp_status status = read_all(TP_READ_MIN, &total);
                assert_true(status == TP_OK || status == TP_AGAIN);
            }
        }
        SSL_shutdown(rig.peer.ssl);
        peer_give_all();
        assert_int_equal(read_to_end(TP_READ_MIN, &total), TP_EOF);
        assert_int_equal(total, 600000);
        rig_end();
    }
}

/* The other way round: the peer has ended its direction, ours goes on. */
static void test_half_close_by_the_peer(void **state)
{
    (void)state;
    EACH_KIND(role, version)
    {
        uint64_t total = 0, got = 0, sent = 0;
        rig_connected(role, version, 0);
        peer_ends(0, NOTIFY);
        assert_int_equal(read_to_end(TP_READ_MIN, &total), TP_EOF);
        for (int i = 0; i < 20; i++) {
            size_t n = 0;
            fill_pattern(rig.buffer, 30000, sent);
            assert_int_equal(rig.t->ops->write(rig.t, rig.buffer, 30000, &n), TP_OK);
            sent += n;
            while (got < sent) {
                size_t m = 0;
                ready(rig.peer.fd, POLLIN, WAIT_MS);
                peer_take();
                while (SSL_read_ex(rig.peer.ssl, rig.buffer, sizeof rig.buffer, &m) == 1) {
                    check_pattern(rig.buffer, m, got);
                    got += m;
                }
                assert_int_not_equal(rig.t->ops->flush(rig.t), TP_ERROR);
            }
        }
        assert_int_equal(rig.t->ops->shut_write(rig.t), TP_OK);
        rig_end();
    }
}

/* ---- TLS: alerts ---- */

static const uint8_t alert_40[] = {21, 3, 3, 0, 2, 2, 40}; /* handshake_failure, in the clear */

static void test_alert_in_handshake(void **state)
{
    (void)state;
    EACH_KIND(role, version)
    {
        rig_tls(role, version, 0, 0);
        assert_int_equal(rig.t->ops->handshake(rig.t), TP_AGAIN);
        assert_int_equal(write(rig.peer.fd, alert_40, sizeof alert_40), sizeof alert_40);
        assert_true(ready(rig.t->fd, POLLIN, WAIT_MS));
        assert_int_equal(rig.t->ops->handshake(rig.t), TP_ERROR);
        assert_non_null(rig.t->failure);
        if (role == TLS_UPSTREAM) { /* a server that has seen no hello may call it unexpected */
            assert_int_equal(rig.t->failure->fault, TLS_FAULT_ALERT);
            assert_int_equal(rig.t->failure->alert, 40);
        }
        rig_end();
    }
}

static void alert_and_break(void *arg)
{
    (void)arg;
    assert_int_equal(write(rig.peer.fd, alert_40, sizeof alert_40), sizeof alert_40);
    wait_bytes(rig.t->fd, (int)sizeof alert_40);
    hook.send_errno = EPIPE;
}

static void test_alert_behind_a_failing_handshake_write(void **state)
{
    (void)state;
    rig_tls(TLS_UPSTREAM, TLS1_2_VERSION, 0, 0);
    hook.before_send = alert_and_break;
    assert_int_equal(rig.t->ops->handshake(rig.t), TP_ERROR);
    assert_non_null(rig.t->failure);
    assert_int_equal(rig.t->failure->fault, TLS_FAULT_ALERT);
    assert_int_equal(rig.t->failure->alert, 40);
    rig_end();
}

/* TLS 1.3 tells only after the handshake that the peer wants our certificate. */
static void late_alert(bool write_first)
{
    size_t n = 0;
    bool drained;
    rig_tls(TLS_UPSTREAM, TLS1_3_VERSION, 0, CLIENT_CERT);
    assert_int_equal(handshake(SIZE_MAX, NULL), TP_OK);
    assert_true(ready(rig.peer.fd, POLLIN, WAIT_MS));
    for (int i = 0; i < 100 && BIO_ctrl_pending(rig.peer.out) == 0; i++) {
        ready(rig.peer.fd, POLLIN, 10);
        peer_take();
        assert_int_not_equal(SSL_do_handshake(rig.peer.ssl), 1);
    }
    int sealed = (int)BIO_ctrl_pending(rig.peer.out);
    peer_give_all();
    wait_bytes(rig.t->fd, sealed);
    if (write_first) {
        hook.send_errno = EPIPE;
        assert_int_equal(rig.t->ops->write(rig.t, "x", 1, &n), TP_ERROR);
        assert_int_equal(n, 0);
        assert_int_equal(rig.t->failure->fault, TLS_FAULT_SYSTEM);
        assert_int_equal(rig.t->ops->flush(rig.t), TP_ERROR);
        assert_int_equal(rig.t->ops->shut_write(rig.t), TP_ERROR);
    }
    assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained), TP_ERROR);
    assert_non_null(rig.t->failure);
    assert_int_equal(rig.t->failure->fault, TLS_FAULT_ALERT);
    assert_int_equal(rig.t->failure->alert, SSL_AD_CERTIFICATE_REQUIRED);
    assert_true(rig.t->failure->credential_alert);
    rig_end();
}

static void test_alert_after_the_handshake(void **state)
{
    (void)state;
    late_alert(false);
    late_alert(true);
}

/* Data that came before the writing failed is still read. */
static void test_data_behind_a_failing_write(void **state)
{
    (void)state;
    EACH_KIND(role, version)
    {
        uint64_t total = 0;
        size_t n = 0;
        rig_connected(role, version, 0);
        fill_pattern(rig.buffer, 40000, 0);
        peer_write(rig.buffer, 40000);
        SSL_shutdown(rig.peer.ssl);
        peer_give_all();
        shutdown(rig.peer.fd, SHUT_WR);
        hook.send_errno = EPIPE;
        assert_int_equal(rig.t->ops->write(rig.t, "x", 1, &n), TP_ERROR);
        assert_int_equal(read_to_end(TP_READ_MIN, &total), TP_EOF);
        assert_int_equal(total, 40000);
        rig_end();
    }
}

static void test_corrupt_record(void **state)
{
    (void)state;
    EACH_KIND(role, version)
    {
        size_t n = 0;
        bool drained;
        rig_connected(role, version, 0);
        ready(rig.t->fd, POLLIN, 20);
        (void)rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained); /* tickets */
        static const uint8_t bad[45] = {23, 3, 3, 0, 40};
        assert_int_equal(write(rig.peer.fd, bad, sizeof bad), sizeof bad);
        assert_true(ready(rig.t->fd, POLLIN, WAIT_MS));
        assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained), TP_ERROR);
        assert_int_equal(rig.t->failure->fault, TLS_FAULT_PROTOCOL);
        assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained), TP_ERROR);
        rig_end();
    }
}

/* ---- TLS: a hostile peer ---- */

static void flood(void *arg)
{
    size_t *left = arg;
    while (*left > 0 && BIO_ctrl_pending(rig.peer.out) < 4 * TP_SEALED_SIZE) {
        SSL_key_update(rig.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
        assert_int_equal(SSL_do_handshake(rig.peer.ssl), 1);
        --*left;
    }
    /* Never a short read: that would be taken for an empty socket. */
    int waiting = 0;
    for (int i = 0; i < 100 && waiting < (int)TP_SEALED_SIZE; i++) {
        if (peer_give(SIZE_MAX) == 0)
            poll(NULL, 0, 1);
        assert_int_equal(ioctl(rig.t->fd, FIONREAD, &waiting), 0);
    }
}

/* Records without data, faster than they are read: one read() must come back all the same, or one
 * peer holds up its worker, and the answers pile up. */
static void test_flood_of_key_updates(void **state)
{
    (void)state;
    size_t left = 100000, n = 0; /* KeyUpdates, of 27 bytes each or so */
    bool drained;
    rig_connected(TLS_DOWNSTREAM, TLS1_3_VERSION, 0);
    hook.before_recv = flood;
    hook.arg = &left;
    hook.received = 0;
    (void)rig.t->ops->read(rig.t, rig.buffer, sizeof rig.buffer, &n, &drained);
    hook.before_recv = NULL;
    size_t received = hook.received;
    rig_end();
    print_message("%zu bytes in one read\n", received);
    assert_true(received <= 16 * TP_SEALED_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_end_without_data),
        cmocka_unit_test(test_data_then_fin_or_reset),
        cmocka_unit_test(test_data_and_close_notify_in_one_segment),
        cmocka_unit_test(test_full_read_then_close_notify),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_half_close_by_the_peer),
        cmocka_unit_test(test_alert_in_handshake),
        cmocka_unit_test(test_alert_behind_a_failing_handshake_write),
        cmocka_unit_test(test_alert_after_the_handshake),
        cmocka_unit_test(test_data_behind_a_failing_write),
        cmocka_unit_test(test_corrupt_record),
        cmocka_unit_test(test_flood_of_key_updates),
    };
    return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
