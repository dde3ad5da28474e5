/* The transports over real sockets. The far end is a plain OpenSSL session over memory BIOs, so
 * that a test decides what goes into which segment; recv(2) and send(2) of the transports go
 * through hooks here, to cut them short and to fail them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/transport.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME    "esclusa.test"
#define WAIT_MS 10000
#define STEPS   100000

/* ---- hooks: these definitions come before libc's ---- */

static struct {
    size_t recv_limit, send_limit; /* bytes a call; 0: no limit */
    unsigned recv_eintr, send_eintr;
    int send_errno;                 /* fail with that */
    void (*before_send)(void *arg); /* once */
    void (*before_recv)(void *arg);
    void *arg;
    unsigned recvs, sends;
    size_t received;
} hook;

ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    hook.recvs++;
    if (hook.recv_eintr > 0) {
        hook.recv_eintr--;
        errno = EINTR;
        return -1;
    }
    if (hook.before_recv != NULL)
        hook.before_recv(hook.arg);
    if (hook.recv_limit != 0 && size > hook.recv_limit)
        size = hook.recv_limit;
    ssize_t n = syscall(SYS_recvfrom, fd, bytes, size, flags, NULL, NULL);
    /* With a peer that never stops there is no short read. */
    for (int i = 0; hook.before_recv != NULL && n > 0 && (size_t)n < size && i < 100; i++) {
        hook.before_recv(hook.arg);
        ssize_t more =
            syscall(SYS_recvfrom, fd, (char *)bytes + n, size - (size_t)n, flags, NULL, NULL);
        n += more > 0 ? more : 0;
    }
    if (n > 0)
        hook.received += (size_t)n;
    return n;
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    hook.sends++;
    if (hook.send_eintr > 0) {
        hook.send_eintr--;
        errno = EINTR;
        return -1;
    }
    if (hook.before_send != NULL) {
        void (*act)(void *) = hook.before_send;
        hook.before_send = NULL;
        act(hook.arg);
    }
    if (hook.send_errno != 0) {
        errno = hook.send_errno;
        return -1;
    }
    if (hook.send_limit != 0 && size > hook.send_limit)
        size = hook.send_limit;
    return syscall(SYS_sendto, fd, bytes, size, flags, NULL, 0);
}

/* ---- sockets ---- */

static void set_nonblocking(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

/* A TCP connection over loopback; queue: SO_SNDBUF and SO_RCVBUF, 0: the kernel's. */
static void tcp_pair(int fd[2], int queue)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    fd[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(listener >= 0 && fd[0] >= 0);
    if (queue != 0) {
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &queue, sizeof queue);
        setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &queue, sizeof queue);
        setsockopt(fd[0], SOL_SOCKET, SO_RCVBUF, &queue, sizeof queue);
        setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &queue, sizeof queue);
    }
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &length), 0);
    assert_int_equal(connect(fd[0], (struct sockaddr *)&at, sizeof at), 0);
    fd[1] = accept(listener, NULL, NULL);
    assert_true(fd[1] >= 0);
    close(listener);
    for (int i = 0; i < 2; i++) {
        int on = 1;
        setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        set_nonblocking(fd[i]);
    }
}

static bool ready(int fd, short events, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, wait_ms) > 0;
}

/* Until at least size bytes wait there: loopback is quick, not instant. */
static void wait_bytes(int fd, int size)
{
    int waiting = 0;
    for (int i = 0; i < WAIT_MS && waiting < size; i++) {
        assert_int_equal(ioctl(fd, FIONREAD, &waiting), 0);
        if (waiting < size)
            poll(NULL, 0, 1);
    }
    assert_true(waiting >= size);
}

static void close_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

static int open_fds(void)
{
    int count = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d) != NULL)
        count++;
    closedir(d);
    return count;
}

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 9) * 7 + (at >> 17));
}

static void fill_pattern(uint8_t *bytes, size_t length, uint64_t at)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = pattern(at + i);
}

static void check_pattern(const uint8_t *bytes, size_t length, uint64_t at)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != pattern(at + i))
            fail_msg("byte %llu is wrong", (unsigned long long)(at + i));
}

/* ---- certificates and profiles, once ---- */

static struct {
    char dir[64], cert_path[96], both_path[96];
    X509 *cert;
    EVP_PKEY *key;
    struct tls_profile *up, *down;
    struct tls_name name;
} house;

static bool make_certificate(void)
{
    house.key = EVP_EC_gen("P-256");
    X509 *x = house.cert = X509_new();
    if (house.key == NULL || x == NULL)
        return false;
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_set_pubkey(x, house.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:" NAME);
    X509_add_ext(x, san, -1);
    X509_EXTENSION_free(san);
    return X509_sign(x, house.key, EVP_sha256()) > 0;
}

static bool write_pem(const char *path, bool with_key)
{
    FILE *f = fopen(path, "w");
    if (f == NULL)
        return false;
    bool done = PEM_write_X509(f, house.cert) == 1 &&
                (!with_key || PEM_write_PrivateKey(f, house.key, NULL, NULL, 0, NULL, NULL) == 1);
    return fclose(f) == 0 && done;
}

static int group_set_up(void **state)
{
    (void)state;
    struct error err;
    error_init(&err);
    snprintf(house.dir, sizeof house.dir, "/tmp/esclusa-transport-XXXXXX");
    if (mkdtemp(house.dir) == NULL)
        return -1;
    snprintf(house.cert_path, sizeof house.cert_path, "%s/cert.pem", house.dir);
    snprintf(house.both_path, sizeof house.both_path, "%s/both.pem", house.dir);
    if (!make_certificate() || !write_pem(house.cert_path, false) ||
        !write_pem(house.both_path, true) || !tls_name_set(&house.name, NAME, &err))
        return -1;
    house.up = tls_profile_create(
        &(struct tls_settings){.role = TLS_UPSTREAM, .ca_file = house.cert_path, .workers = 1},
        &err);
    house.down = tls_profile_create(
        &(struct tls_settings){.role = TLS_DOWNSTREAM, .cert_file = house.both_path, .workers = 1},
        &err);
    if (err.set)
        print_error("%s\n", err.text);
    return house.up == NULL || house.down == NULL;
}

static int group_tear_down(void **state)
{
    (void)state;
    tls_profile_destroy(&house.up);
    tls_profile_destroy(&house.down);
    X509_free(house.cert);
    EVP_PKEY_free(house.key);
    unlink(house.cert_path);
    unlink(house.both_path);
    return rmdir(house.dir);
}

/* ---- the rig: a transport, and a peer in our hands ---- */

struct peer {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
    int fd;
};

struct rig {
    struct transport *t;
    struct transport_scratch scratch;
    struct peer peer;
    int fds_before;
    uint8_t buffer[TP_PLAIN_SIZE];
};

static struct rig rig;

enum { CLIENT_CERT = 1 }; /* the peer demands a client certificate */

static void peer_init(struct peer *p, int fd, enum tls_role of_transport, int version,
                      unsigned flags)
{
    bool server = of_transport == TLS_UPSTREAM;
    p->fd = fd;
    p->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    assert_non_null(p->ctx);
    SSL_CTX_set_min_proto_version(p->ctx, version);
    SSL_CTX_set_max_proto_version(p->ctx, version);
    if (server) {
        assert_int_equal(SSL_CTX_use_certificate(p->ctx, house.cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(p->ctx, house.key), 1);
    }
    if (flags & CLIENT_CERT)
        SSL_CTX_set_verify(p->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    p->ssl = SSL_new(p->ctx);
    p->in = BIO_new(BIO_s_mem());
    p->out = BIO_new(BIO_s_mem());
    SSL_set_bio(p->ssl, p->in, p->out);
    if (server)
        SSL_set_accept_state(p->ssl);
    else
        SSL_set_connect_state(p->ssl);
}

static void rig_begin(void)
{
    memset(&hook, 0, sizeof hook);
    memset(&rig, 0, sizeof rig);
    struct error err;
    error_init(&err);
    rig.fds_before = open_fds();
    assert_true(transport_scratch_init(&rig.scratch, &err));
    rig.peer.fd = -1;
}

static void rig_tls(enum tls_role role, int version, int queue, unsigned flags)
{
    int fd[2];
    rig_begin();
    tcp_pair(fd, queue);
    bool up = role == TLS_UPSTREAM;
    rig.t = transport_tls_create(fd[0], up ? house.up : house.down, 0, up ? &house.name : NULL,
                                 &rig.scratch);
    assert_non_null(rig.t);
    peer_init(&rig.peer, fd[1], role, version, flags);
}

static void rig_plain(int queue)
{
    int fd[2];
    rig_begin();
    tcp_pair(fd, queue);
    rig.t = transport_plain_create(fd[0], false);
    assert_non_null(rig.t);
    rig.peer.fd = fd[1];
}

static void rig_end(void)
{
    transport_destroy(&rig.t);
    assert_null(rig.t);
    SSL_free(rig.peer.ssl);
    SSL_CTX_free(rig.peer.ctx);
    if (rig.peer.fd >= 0)
        close(rig.peer.fd);
    transport_scratch_fini(&rig.scratch);
    memset(&hook, 0, sizeof hook);
    ERR_clear_error();
    assert_int_equal(open_fds(), rig.fds_before);
}

/* What has come for the peer, into its session. */
static bool peer_take(void)
{
    uint8_t bytes[16384];
    bool some = false;
    ssize_t n;
    while ((n = read(rig.peer.fd, bytes, sizeof bytes)) > 0) {
        assert_int_equal(BIO_write(rig.peer.in, bytes, (int)n), n);
        some = true;
    }
    return some;
}

/* At most max bytes of what the peer made, in one segment where that fits. */
static size_t peer_give(size_t max)
{
    char *bytes;
    long waiting = BIO_get_mem_data(rig.peer.out, &bytes);
    size_t size = (size_t)waiting < max ? (size_t)waiting : max;
    if (size == 0)
        return 0;
    ssize_t n = write(rig.peer.fd, bytes, size);
    if (n <= 0)
        return 0;
    char drop[4096];
    for (size_t left = (size_t)n; left > 0;) {
        int piece = BIO_read(rig.peer.out, drop, (int)(left < sizeof drop ? left : sizeof drop));
        assert_true(piece > 0);
        left -= (size_t)piece;
    }
    return (size_t)n;
}

static void peer_give_all(void)
{
    for (int i = 0; i < WAIT_MS && BIO_ctrl_pending(rig.peer.out) > 0; i++) {
        if (peer_give(SIZE_MAX) == 0)
            ready(rig.peer.fd, POLLOUT, 1);
    }
    assert_int_equal(BIO_ctrl_pending(rig.peer.out), 0);
}

static void peer_write(const void *bytes, size_t length)
{
    size_t n = 0;
    assert_int_equal(SSL_write_ex(rig.peer.ssl, bytes, length, &n), 1);
    assert_int_equal(n, length);
}

static short wanted(void)
{
    unsigned want = rig.t->handshake_want;
    return (short)((want & TP_WANT_READ ? POLLIN : 0) | (want & TP_WANT_WRITE ? POLLOUT : 0));
}

/* The peer's half of the handshake, step bytes at a time; banner: to be sent in the segment of its
 * last flight. Waits for the transport with poll(2), on what it asked for. */
static enum tp_status handshake(size_t step, const char *banner)
{
    bool peer_done = false;
    for (int i = 0; i < STEPS; i++) {
        enum tp_status status = rig.t->ops->handshake(rig.t);
        if (status != TP_AGAIN)
            return status;
        assert_int_not_equal(wanted(), 0);
        if (ready(rig.t->fd, wanted(), 0))
            continue;
        for (int j = 0; BIO_ctrl_pending(rig.peer.out) == 0; j++) {
            assert_true(j < 100);
            if (!peer_take() && j > 0)
                ready(rig.peer.fd, POLLIN, 100);
            if (!peer_done && SSL_do_handshake(rig.peer.ssl) == 1) {
                peer_done = true;
                if (banner != NULL)
                    peer_write(banner, strlen(banner));
            }
        }
        assert_true(peer_give(step) > 0);
        assert_true(ready(rig.t->fd, wanted(), WAIT_MS));
    }
    fail_msg("the handshake never ended");
    return TP_ERROR;
}

/* After the transport is done: the peer's last steps, and its tickets out of the way. */
static void peer_finish(void)
{
    for (int i = 0; i < 100 && SSL_do_handshake(rig.peer.ssl) != 1; i++) {
        ready(rig.peer.fd, POLLIN, WAIT_MS);
        peer_take();
    }
    assert_true(SSL_is_init_finished(rig.peer.ssl));
    peer_give_all();
}

static void rig_connected(enum tls_role role, int version, int queue)
{
    rig_tls(role, version, queue, 0);
    assert_int_equal(handshake(SIZE_MAX, NULL), TP_OK);
    peer_finish();
}

/* As a pump does: reads as long as that is said to make sense. Returns what the last read said. */
static enum tp_status read_all(size_t size, uint64_t *total)
{
    bool drained = false;
    while (!drained || rig.t->ops->has_buffered(rig.t)) {
        size_t n = 0;
        enum tp_status status = rig.t->ops->read(rig.t, rig.buffer, size, &n, &drained);
        assert_true((status == TP_OK) == (n > 0));
        assert_true(n <= size);
        if (status != TP_OK)
            return status;
        check_pattern(rig.buffer, n, *total);
        *total += n;
    }
    return TP_OK;
}

/* Reads up to expected bytes and on to the end of the stream, woken by poll(2) only. */
static enum tp_status read_to_end(size_t size, uint64_t *total)
{
    for (int i = 0; i < STEPS; i++) {
        enum tp_status status = read_all(size, total);
        if (status != TP_OK && status != TP_AGAIN)
            return status;
        if (!ready(rig.t->fd, POLLIN, 2000))
            return TP_AGAIN; /* stalled */
    }
    return TP_AGAIN;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
static const enum tls_role roles[] = {TLS_UPSTREAM, TLS_DOWNSTREAM};

/* Two loop variables are declared by the macro: their names cannot stand in parentheses. */
/* NOLINTBEGIN(bugprone-macro-parentheses) */
#define EACH_KIND(role, version)                                                                   \
    for (int role##_i = 0, version = 0; role##_i < 4 && (version = versions[role##_i % 2]) != 0;   \
         role##_i++)                                                                               \
        for (enum tls_role role = roles[role##_i / 2], role##_once = TLS_UPSTREAM;                 \
             role##_once == TLS_UPSTREAM; role##_once = TLS_DOWNSTREAM)
/* NOLINTEND(bugprone-macro-parentheses) */

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
