/* TLS transports over real sockets: handshakes and transfers. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "transport_rig.h"

/* ---- TLS: handshake ---- */

static void test_handshake(void **state)
{
    (void)state;
    EACH_KIND(role, version)
    {
        struct tls_info info;
        rig_tls(role, version, 0, 0);
        assert_int_equal(handshake(SIZE_MAX, NULL), TP_OK);
        assert_null(rig.t->failure);
        assert_true(transport_tls_info(rig.t, &info));
        assert_string_equal(info.version, version == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3");
        rig_end();
    }
}

static void test_handshake_byte_by_byte(void **state)
{
    (void)state;
    EACH_KIND(role, version)
    {
        rig_tls(role, version, 0, 0);
        assert_int_equal(handshake(1, NULL), TP_OK);
        rig_end();
        rig_tls(role, version, 0, 0);
        hook.recv_limit = 1;
        hook.send_limit = 1;
        assert_int_equal(handshake(SIZE_MAX, NULL), TP_OK);
        rig_end();
    }
}

static void test_handshake_interrupted_calls(void **state)
{
    (void)state;
    rig_tls(TLS_UPSTREAM, TLS1_3_VERSION, 0, 0);
    hook.recv_eintr = hook.send_eintr = 3;
    assert_int_equal(handshake(SIZE_MAX, NULL), TP_OK);
    assert_int_equal(hook.recv_eintr + hook.send_eintr, 0);
    rig_end();
}

static void test_handshake_garbage(void **state)
{
    (void)state;
    static const char *const garbage[] = {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "SSH-2.0-x\r\n",
                                          "\x16\x03\x01\x40\x01yyyyyyyyyyyyyyyyyyyyyyyyyyy",
                                          "\x17\x03\x03\x01\x01yyyyyyyyyyyyyyyyyyyyyyyyyyy"};
    EACH_KIND(role, version)
    {
        for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
            rig_tls(role, version, 0, 0);
            assert_int_equal(rig.t->ops->handshake(rig.t), TP_AGAIN);
            size_t length = strlen(garbage[i]);
            assert_int_equal(write(rig.peer.fd, garbage[i], length), length);
            shutdown(rig.peer.fd, SHUT_WR);
            enum tp_status status = TP_AGAIN;
            for (int j = 0; j < 5 && status == TP_AGAIN; j++) {
                assert_true(ready(rig.t->fd, POLLIN, WAIT_MS));
                status = rig.t->ops->handshake(rig.t);
            }
            assert_int_equal(status, TP_ERROR);
            assert_non_null(rig.t->failure);
            assert_true(rig.t->failure->fault == TLS_FAULT_PROTOCOL ||
                        rig.t->failure->fault == TLS_FAULT_TRUNCATED);
            rig_end();
        }
    }
}

/* What came in the segment of the peer's last flight is read without a word from the socket. */
static void data_with_last_flight(enum tls_role role, int version)
{
    static const char banner[] = "220 hello, I speak first\r\n";
    rig_tls(role, version, 0, 0);
    assert_int_equal(handshake(SIZE_MAX, banner), TP_OK);
    assert_false(ready(rig.t->fd, POLLIN, 0));
    assert_true(rig.t->ops->has_buffered(rig.t));
    size_t n = 0;
    bool drained = false;
    assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained), TP_OK);
    assert_int_equal(n, sizeof banner - 1);
    assert_memory_equal(rig.buffer, banner, n);
    assert_false(rig.t->ops->has_buffered(rig.t));
    rig_end();
}

static void test_data_with_last_flight(void **state)
{
    (void)state;
    data_with_last_flight(TLS_UPSTREAM, TLS1_2_VERSION);
    data_with_last_flight(TLS_DOWNSTREAM, TLS1_3_VERSION);
}

static void test_destroy_at_any_point(void **state)
{
    (void)state;
    EACH_KIND(role, version)
    {
        for (size_t bytes = 0; bytes < 3000; bytes += 97) {
            rig_tls(role, version, 0, 0);
            enum tp_status status = rig.t->ops->handshake(rig.t);
            size_t given = 0;
            while (status == TP_AGAIN && given < bytes) {
                peer_take();
                (void)SSL_do_handshake(rig.peer.ssl);
                size_t n = peer_give(bytes - given);
                if (n == 0)
                    break;
                given += n;
                ready(rig.t->fd, POLLIN, WAIT_MS);
                status = rig.t->ops->handshake(rig.t);
            }
            rig_end();
        }
    }
}

/* ---- TLS: transfers ---- */

struct transfer {
    uint64_t total;
    uint64_t sent, received;           /* by the transport */
    uint64_t peer_sent, peer_received; /* by the peer */
    unsigned updates;                  /* KeyUpdates asked for by the peer */
    unsigned agains;
};

static void transfer_write(struct transfer *x, size_t piece)
{
    if (x->sent < x->total && rig.t->ops->flush(rig.t) == TP_OK) {
        size_t size = x->total - x->sent < piece ? (size_t)(x->total - x->sent) : piece;
        size_t n = 0;
        fill_pattern(rig.buffer, size, x->sent);
        enum tp_status status = rig.t->ops->write(rig.t, rig.buffer, size, &n);
        assert_true(status == TP_OK || status == TP_AGAIN);
        assert_true((status == TP_OK) == (n > 0) && n <= size);
        memset(rig.buffer, 0xee, size); /* what was taken must not be looked at again */
        x->sent += n;
    } else {
        enum tp_status status = rig.t->ops->flush(rig.t);
        assert_true(status == TP_OK || status == TP_AGAIN);
        x->agains += status == TP_AGAIN;
    }
}

static void transfer_peer(struct transfer *x)
{
    static uint8_t bytes[40000];
    peer_take();
    size_t n;
    while (SSL_read_ex(rig.peer.ssl, bytes, sizeof bytes, &n) == 1) {
        check_pattern(bytes, n, x->peer_received);
        x->peer_received += n;
    }
    ERR_clear_error();
    if (x->peer_sent < x->total && BIO_ctrl_pending(rig.peer.out) < 100000) {
        if (x->updates > 0 && x->peer_sent > x->total / 2) {
            x->updates--;
            SSL_key_update(rig.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
        }
        size_t size = x->total - x->peer_sent < sizeof bytes ? (size_t)(x->total - x->peer_sent)
                                                             : sizeof bytes;
        fill_pattern(bytes, size, x->peer_sent);
        peer_write(bytes, size);
        x->peer_sent += size;
    }
    peer_give(SIZE_MAX);
}

static void transfer(enum tls_role role, int version, int queue, size_t piece, size_t read_size,
                     unsigned updates)
{
    struct transfer x = {.total = 3 * 1024 * 1024 + 17, .updates = updates};
    rig_connected(role, version, queue);
    for (int i = 0; x.received < x.total || x.peer_received < x.total; i++) {
        assert_true(i < STEPS * 10);
        transfer_write(&x, piece);
        transfer_peer(&x);
        enum tp_status status = read_all(read_size, &x.received);
        assert_true(status == TP_OK || status == TP_AGAIN);
        if (i % 16 == 15)
            ready(rig.t->fd, POLLIN, 1);
    }
    assert_int_equal(x.received, x.total);
    assert_int_equal(x.peer_received, x.total);
    assert_int_equal(x.updates, 0);
    if (queue != 0)
        assert_true(x.agains > 0); /* the socket was full at times, or this tests little */
    assert_null(rig.t->failure);
    rig_end();
}

static void test_transfer_both_ways(void **state)
{
    (void)state;
    EACH_KIND(role, version)
    {
        transfer(role, version, 4096, TP_PLAIN_SIZE, TP_PLAIN_SIZE, 0);
        transfer(role, version, 0, 30000, TP_READ_MIN, 0);
    }
}

static void test_transfer_with_key_updates(void **state)
{
    (void)state;
    transfer(TLS_UPSTREAM, TLS1_3_VERSION, 4096, TP_PLAIN_SIZE, TP_PLAIN_SIZE, 10);
    transfer(TLS_DOWNSTREAM, TLS1_3_VERSION, 4096, 20000, TP_READ_MIN, 10);
}

/* Many records in one segment, small and large, and a reader that takes little at a time: all of it
 * comes out without another word from the socket. */
static void test_many_records_in_one_segment(void **state)
{
    (void)state;
    static const size_t sizes[] = {16384, 1, 5000, 16384, 3, 9000, 700};
    EACH_KIND(role, version)
    {
        uint64_t at = 0, total = 0;
        rig_connected(role, version, 0);
        ready(rig.t->fd, POLLIN, 50);
        read_all(TP_READ_MIN, &total);
        assert_int_equal(total, 0);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            fill_pattern(rig.buffer, sizes[i], at);
            peer_write(rig.buffer, sizes[i]);
            at += sizes[i];
        }
        int sealed = (int)BIO_ctrl_pending(rig.peer.out);
        assert_true(sealed < (int)TP_SEALED_SIZE);
        peer_give_all();
        wait_bytes(rig.t->fd, sealed);
        read_all(TP_READ_MIN, &total);
        assert_int_equal(total, at);
        assert_false(rig.t->ops->has_buffered(rig.t));
        rig_end();
    }
}

static void test_one_record_byte_by_byte(void **state)
{
    (void)state;
    uint64_t total = 0;
    rig_connected(TLS_DOWNSTREAM, TLS1_3_VERSION, 0);
    fill_pattern(rig.buffer, 100, 0);
    peer_write(rig.buffer, 100);
    while (peer_give(1) == 1) {
        assert_int_equal(total, 0);
        assert_true(ready(rig.t->fd, POLLIN, WAIT_MS));
        enum tp_status status = read_all(TP_READ_MIN, &total);
        assert_true(status == TP_AGAIN || status == TP_OK);
    }
    assert_int_equal(total, 100);
    rig_end();
}

static void test_blocked_write_and_flush(void **state)
{
    (void)state;
    EACH_KIND(role, version)
    {
        uint64_t taken = 0, got = 0;
        rig_connected(role, version, 4096);
        enum tp_status status = TP_OK;
        for (int i = 0; i < 1000 && status == TP_OK; i++) {
            size_t n = 0;
            fill_pattern(rig.buffer, sizeof rig.buffer, taken);
            status = rig.t->ops->write(rig.t, rig.buffer, sizeof rig.buffer, &n);
            assert_int_equal(n > 0, status == TP_OK);
            taken += n;
        }
        assert_int_equal(status, TP_AGAIN);
        assert_int_equal(rig.t->ops->flush(rig.t), TP_AGAIN);
        assert_int_equal(rig.t->ops->shut_write(rig.t), TP_AGAIN); /* behind what waits */
        bool ended = false;
        for (int i = 0; i < STEPS && !ended; i++) {
            ready(rig.peer.fd, POLLIN, 10);
            peer_take();
            size_t n;
            while (SSL_read_ex(rig.peer.ssl, rig.buffer, sizeof rig.buffer, &n) == 1) {
                check_pattern(rig.buffer, n, got);
                got += n;
            }
            ended = (SSL_get_shutdown(rig.peer.ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
            if (status == TP_AGAIN) {
                status = rig.t->ops->flush(rig.t);
                assert_true(status == TP_OK || status == TP_AGAIN);
            }
        }
        assert_true(ended);
        assert_true(got == taken); /* what AGAIN was said to was not taken */
        assert_int_equal(rig.t->ops->shut_write(rig.t), TP_OK);
        rig_end();
    }
}

static void test_interrupted_calls(void **state)
{
    (void)state;
    uint64_t total = 0;
    size_t n = 0;
    rig_connected(TLS_UPSTREAM, TLS1_2_VERSION, 0);
    fill_pattern(rig.buffer, 1000, 0);
    peer_write(rig.buffer, 1000);
    peer_give_all();
    assert_true(ready(rig.t->fd, POLLIN, WAIT_MS));
    hook.recv_eintr = hook.send_eintr = 3;
    read_all(TP_READ_MIN, &total);
    assert_int_equal(total, 1000);
    assert_int_equal(rig.t->ops->write(rig.t, "x", 1, &n), TP_OK);
    assert_int_equal(rig.t->ops->flush(rig.t), TP_OK);
    assert_int_equal(hook.recv_eintr + hook.send_eintr, 0);
    rig_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_handshake_byte_by_byte),
        cmocka_unit_test(test_handshake_interrupted_calls),
        cmocka_unit_test(test_handshake_garbage),
        cmocka_unit_test(test_data_with_last_flight),
        cmocka_unit_test(test_destroy_at_any_point),
        cmocka_unit_test(test_transfer_both_ways),
        cmocka_unit_test(test_transfer_with_key_updates),
        cmocka_unit_test(test_many_records_in_one_segment),
        cmocka_unit_test(test_one_record_byte_by_byte),
        cmocka_unit_test(test_blocked_write_and_flush),
        cmocka_unit_test(test_interrupted_calls),
    };
    return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
