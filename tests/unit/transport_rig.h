/* What the tests of transports share: a transport over a real socket, and a far end in the test's
 * hands. That is a plain OpenSSL session over memory BIOs, so that a test decides what goes into
 * which segment; recv(2) and send(2) of the transport go through hooks here, to cut them short and
 * to fail them. One source file a program may include this, after <cmocka.h> and what it needs. */
#ifndef ESCLUSA_TESTS_TRANSPORT_RIG_H
#define ESCLUSA_TESTS_TRANSPORT_RIG_H

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

static inline void set_nonblocking(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

/* A TCP connection over loopback; queue: SO_SNDBUF and SO_RCVBUF, 0: the kernel's. */
static inline void tcp_pair(int fd[2], int queue)
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

static inline bool ready(int fd, short events, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, wait_ms) > 0;
}

/* Until at least size bytes wait there: loopback is quick, not instant. */
static inline void wait_bytes(int fd, int size)
{
    int waiting = 0;
    for (int i = 0; i < WAIT_MS && waiting < size; i++) {
        assert_int_equal(ioctl(fd, FIONREAD, &waiting), 0);
        if (waiting < size)
            poll(NULL, 0, 1);
    }
    assert_true(waiting >= size);
}

static inline void close_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

static inline int open_fds(void)
{
    int count = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d) != NULL)
        count++;
    closedir(d);
    return count;
}

static inline uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 9) * 7 + (at >> 17));
}

static inline void fill_pattern(uint8_t *bytes, size_t length, uint64_t at)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = pattern(at + i);
}

static inline void check_pattern(const uint8_t *bytes, size_t length, uint64_t at)
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
    struct tls_peer upstream;
} house;

static inline bool make_certificate(void)
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

static inline bool write_pem(const char *path, bool with_key)
{
    FILE *f = fopen(path, "w");
    if (f == NULL)
        return false;
    bool done = PEM_write_X509(f, house.cert) == 1 &&
                (!with_key || PEM_write_PrivateKey(f, house.key, NULL, NULL, 0, NULL, NULL) == 1);
    return fclose(f) == 0 && done;
}

static inline int group_set_up(void **state)
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
    const char *const certs[] = {house.both_path};
    house.upstream = (struct tls_peer){
        .server_name = house.name, .names = &house.name, .name_count = 1, .id = 1};
    house.up = tls_profile_create(&(struct tls_settings){.role = TLS_UPSTREAM,
                                                         .ca_file = house.cert_path,
                                                         .names_policy = TLS_POLICY_ENFORCE,
                                                         .security_level = 2,
                                                         .workers = 1},
                                  &err);
    house.down = tls_profile_create(&(struct tls_settings){.role = TLS_DOWNSTREAM,
                                                           .certs = {certs, 1},
                                                           .security_level = 2,
                                                           .tickets = true,
                                                           .ticket_rotation_ms = 3600000,
                                                           .workers = 1},
                                    &err);
    if (err.set)
        print_error("%s\n", err.text);
    return house.up == NULL || house.down == NULL;
}

static inline int group_tear_down(void **state)
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

static inline void peer_init(struct peer *p, int fd, enum tls_role of_transport, int version,
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

static inline void rig_begin(void)
{
    memset(&hook, 0, sizeof hook);
    memset(&rig, 0, sizeof rig);
    struct error err;
    error_init(&err);
    rig.fds_before = open_fds();
    assert_true(transport_scratch_init(&rig.scratch, &err));
    rig.peer.fd = -1;
}

static inline void rig_tls(enum tls_role role, int version, int queue, unsigned flags)
{
    int fd[2];
    rig_begin();
    tcp_pair(fd, queue);
    bool up = role == TLS_UPSTREAM;
    rig.t = transport_tls_create(fd[0], up ? house.up : house.down, 0, up ? &house.upstream : NULL,
                                 &rig.scratch);
    assert_non_null(rig.t);
    peer_init(&rig.peer, fd[1], role, version, flags);
}

static inline void rig_plain(int queue)
{
    int fd[2];
    rig_begin();
    tcp_pair(fd, queue);
    rig.t = transport_plain_create(fd[0], false);
    assert_non_null(rig.t);
    rig.peer.fd = fd[1];
}

static inline void rig_end(void)
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
static inline bool peer_take(void)
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
static inline size_t peer_give(size_t max)
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

static inline void peer_give_all(void)
{
    for (int i = 0; i < WAIT_MS && BIO_ctrl_pending(rig.peer.out) > 0; i++) {
        if (peer_give(SIZE_MAX) == 0)
            ready(rig.peer.fd, POLLOUT, 1);
    }
    assert_int_equal(BIO_ctrl_pending(rig.peer.out), 0);
}

static inline void peer_write(const void *bytes, size_t length)
{
    size_t n = 0;
    assert_int_equal(SSL_write_ex(rig.peer.ssl, bytes, length, &n), 1);
    assert_int_equal(n, length);
}

static inline short wanted(void)
{
    unsigned want = rig.t->handshake_want;
    return (short)((want & TP_WANT_READ ? POLLIN : 0) | (want & TP_WANT_WRITE ? POLLOUT : 0));
}

/* The peer's half of the handshake, step bytes at a time; banner: to be sent in the segment of its
 * last flight. Waits for the transport with poll(2), on what it asked for. */
static inline enum tp_status handshake(size_t step, const char *banner)
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
static inline void peer_finish(void)
{
    for (int i = 0; i < 100 && SSL_do_handshake(rig.peer.ssl) != 1; i++) {
        ready(rig.peer.fd, POLLIN, WAIT_MS);
        peer_take();
    }
    assert_true(SSL_is_init_finished(rig.peer.ssl));
    peer_give_all();
}

static inline void rig_connected(enum tls_role role, int version, int queue)
{
    rig_tls(role, version, queue, 0);
    assert_int_equal(handshake(SIZE_MAX, NULL), TP_OK);
    peer_finish();
}

/* As a pump does: reads as long as that is said to make sense. Returns what the last read said. */
static inline enum tp_status read_all(size_t size, uint64_t *total)
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
static inline enum tp_status read_to_end(size_t size, uint64_t *total)
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

#endif
