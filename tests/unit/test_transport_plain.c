/* Plain transports over real sockets, and who owns the descriptor. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "transport_rig.h"

/* ---- plain ---- */

static void test_plain_stream(void **state)
{
    (void)state;
    uint64_t total = 0;
    size_t n = 0;
    bool drained = false;
    rig_plain(0);
    assert_int_equal(rig.t->ops->handshake(rig.t), TP_OK);
    struct tls_info info;
    assert_false(transport_tls_info(rig.t, &info));
    assert_false(rig.t->ops->has_buffered(rig.t));
    assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained), TP_AGAIN);
    fill_pattern(rig.buffer, 20000, 0);
    assert_int_equal(write(rig.peer.fd, rig.buffer, 20000), 20000);
    wait_bytes(rig.t->fd, 20000);
    hook.recv_eintr = 2;
    assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained), TP_OK);
    assert_int_equal(n, TP_READ_MIN);
    assert_false(drained);
    total = n;
    assert_int_equal(read_all(TP_READ_MIN, &total), TP_OK);
    assert_int_equal(total, 20000);

    hook.send_eintr = 2;
    assert_int_equal(rig.t->ops->write(rig.t, "hello", 5, &n), TP_OK);
    assert_int_equal(n, 5);
    assert_int_equal(rig.t->ops->flush(rig.t), TP_OK);
    assert_int_equal(rig.t->ops->shut_write(rig.t), TP_OK);
    assert_int_equal(rig.t->ops->shut_write(rig.t), TP_OK);
    assert_true(ready(rig.peer.fd, POLLIN, WAIT_MS));
    assert_int_equal(read(rig.peer.fd, rig.buffer, 100), 5);
    assert_true(ready(rig.peer.fd, POLLIN, WAIT_MS));
    assert_int_equal(read(rig.peer.fd, rig.buffer, 100), 0);

    fill_pattern(rig.buffer, 1000, total); /* the other direction goes on */
    assert_int_equal(write(rig.peer.fd, rig.buffer, 1000), 1000);
    shutdown(rig.peer.fd, SHUT_WR);
    assert_int_equal(read_to_end(TP_READ_MIN, &total), TP_EOF);
    assert_int_equal(total, 21000);
    assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained), TP_EOF);
    assert_int_equal(n, 0);
    rig_end();
}

static void test_plain_blocked_write(void **state)
{
    (void)state;
    uint64_t taken = 0, got = 0;
    enum tp_status status = TP_OK;
    rig_plain(4096);
    while (status == TP_OK) {
        size_t n = 0;
        fill_pattern(rig.buffer, 50000, taken);
        status = rig.t->ops->write(rig.t, rig.buffer, 50000, &n);
        assert_int_equal(n > 0, status == TP_OK);
        taken += n;
    }
    assert_int_equal(status, TP_AGAIN);
    assert_int_equal(rig.t->ops->shut_write(rig.t), TP_OK);
    for (;;) {
        assert_true(ready(rig.peer.fd, POLLIN, WAIT_MS));
        ssize_t n = read(rig.peer.fd, rig.buffer, sizeof rig.buffer);
        if (n == 0)
            break;
        assert_true(n > 0);
        check_pattern(rig.buffer, (size_t)n, got);
        got += (uint64_t)n;
    }
    assert_true(got == taken);
    rig_end();
}

static void test_plain_reset(void **state)
{
    (void)state;
    uint64_t total = 0;
    size_t n = 0;
    bool drained;
    rig_plain(0);
    fill_pattern(rig.buffer, 30000, 0);
    assert_int_equal(write(rig.peer.fd, rig.buffer, 30000), 30000);
    wait_bytes(rig.t->fd, 30000);
    close_reset(rig.peer.fd);
    rig.peer.fd = -1;
    assert_int_equal(read_to_end(TP_READ_MIN, &total), TP_ERROR);
    assert_int_equal(total, 30000);
    assert_int_equal(rig.t->sys_errno, ECONNRESET);
    assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained), TP_ERROR);
    assert_int_equal(rig.t->ops->write(rig.t, "x", 1, &n), TP_ERROR);
    assert_int_equal(n, 0);
    assert_int_equal(rig.t->ops->shut_write(rig.t), TP_ERROR);
    rig_end();
}

/* The reset is met by a write first. That takes the socket's pending error (tcp_sendmsg), and
 * recv(2) says 0 from then on: half a stream must still not look whole. */
static void test_plain_reset_met_by_write(void **state)
{
    (void)state;
    uint64_t total = 0;
    size_t n = 0;
    rig_plain(0);
    fill_pattern(rig.buffer, 30000, 0);
    assert_int_equal(write(rig.peer.fd, rig.buffer, 30000), 30000);
    wait_bytes(rig.t->fd, 30000);
    close_reset(rig.peer.fd);
    rig.peer.fd = -1;
    assert_true(ready(rig.t->fd, POLLERR, WAIT_MS));
    assert_int_equal(rig.t->ops->write(rig.t, "x", 1, &n), TP_ERROR);
    enum tp_status end = read_to_end(TP_READ_MIN, &total);
    rig_end();
    assert_int_equal(total, 30000);
    assert_int_equal(end, TP_ERROR);
}

/* A peer that ended its stream and then refuses ours: what it sent is whole. */
static void test_plain_end_then_broken_write(void **state)
{
    (void)state;
    uint64_t total = 0;
    size_t n = 0;
    rig_plain(0);
    fill_pattern(rig.buffer, 3000, 0);
    assert_int_equal(write(rig.peer.fd, rig.buffer, 3000), 3000);
    close(rig.peer.fd); /* FIN; what we write now is answered with RST */
    rig.peer.fd = -1;
    wait_bytes(rig.t->fd, 3000);
    enum tp_status status = TP_OK;
    for (int i = 0; i < 1000 && status == TP_OK; i++) {
        status = rig.t->ops->write(rig.t, "x", 1, &n);
        poll(NULL, 0, 1);
    }
    assert_int_equal(status, TP_ERROR);
    assert_int_equal(read_to_end(TP_READ_MIN, &total), TP_EOF);
    assert_int_equal(total, 3000);
    rig_end();
}

/* A plain transport on one end of a socket pair, the peer on the other. */
static void rig_unix(int fd[2], bool reset)
{
    rig_begin();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    rig.t = transport_plain_create(fd[0], reset);
    rig.peer.fd = fd[1];
}

static void test_unix_stream(void **state)
{
    (void)state;
    int fd[2];
    size_t n = 0;
    bool drained;
    rig_unix(fd, false);
    assert_int_equal(write(fd[1], "abc", 3), 3);
    assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained), TP_OK);
    assert_int_equal(n, 3);
    assert_int_equal(rig.t->ops->shut_write(rig.t), TP_OK);
    assert_int_equal(read(fd[1], rig.buffer, 10), 0);
    close(fd[1]);
    rig.peer.fd = -1;
    assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained), TP_EOF);
    assert_int_equal(rig.t->ops->write(rig.t, "x", 1, &n), TP_ERROR); /* and no SIGPIPE */
    rig_end();
}

/* The reset was told before the transport was made: what comes is read, the end is no clean one. */
static void test_plain_known_to_be_reset(void **state)
{
    (void)state;
    int fd[2];
    size_t n = 0;
    bool drained;
    rig_unix(fd, true);
    assert_int_equal(write(fd[1], "abc", 3), 3);
    shutdown(fd[1], SHUT_WR);
    assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained), TP_OK);
    assert_int_equal(n, 3);
    assert_int_equal(rig.t->ops->read(rig.t, rig.buffer, TP_READ_MIN, &n, &drained), TP_ERROR);
    assert_int_equal(rig.t->sys_errno, ECONNRESET);
    rig_end();
}

/* ---- ownership ---- */

static void test_released_fd_stays_open(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            rig_plain(0);
        else
            rig_tls(TLS_UPSTREAM, TLS1_3_VERSION, 0, 0);
        int fd = transport_release_fd(rig.t);
        assert_int_equal(rig.t->fd, -1);
        transport_destroy(&rig.t);
        assert_true(fcntl(fd, F_GETFD) >= 0);
        close(fd);
        transport_destroy(&rig.t); /* nothing for NULL */
        rig_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_stream),
        cmocka_unit_test(test_plain_blocked_write),
        cmocka_unit_test(test_plain_reset),
        cmocka_unit_test(test_plain_reset_met_by_write),
        cmocka_unit_test(test_plain_end_then_broken_write),
        cmocka_unit_test(test_unix_stream),
        cmocka_unit_test(test_plain_known_to_be_reset),
        cmocka_unit_test(test_released_fd_stays_open),
    };
    return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
