/* bench-upstream: a TLS server that echoes, swallows or gives (bench.h). One thread, one epoll
 * loop.
 *
 *   bench-upstream PORT CERT KEY
 *
 * Prints "ready" when it listens; ends when its stdin does. */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK         ((size_t)64 * 1024)
#define EVENTS        256
#define PIECES_A_TURN 16

struct conn {
    SSL *ssl;
    int fd;
    bool ready; /* handshake done */
    uint8_t head[BENCH_HEAD];
    size_t head_length;
    uint64_t left;    /* 'S': to come; 'G': to go */
    uint8_t *pending; /* of an echo, or the 'k' */
    size_t pending_at, pending_length;
    unsigned interest;
};

static int epoll_fd;
static uint8_t chunk[CHUNK];

_Noreturn static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void drop(struct conn *c)
{
    SSL_free(c->ssl);
    close(c->fd);
    free(c->pending);
    free(c);
}

static void want(struct conn *c, unsigned interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = c};
    if (interest == c->interest)
        return;
    c->interest = interest;
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

/* What a failed SSL call waits for; false: it is over. */
static bool wait_for(struct conn *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        want(c, EPOLLIN);
        return true;
    case SSL_ERROR_WANT_WRITE:
        want(c, EPOLLOUT);
        return true;
    default:
        ERR_clear_error();
        return false;
    }
}

static bool keep(struct conn *c, const uint8_t *bytes, size_t length)
{
    c->pending = malloc(length);
    if (c->pending == NULL)
        return false;
    memcpy(c->pending, bytes, length);
    c->pending_at = 0;
    c->pending_length = length;
    return true;
}

enum step { GO_ON, WAIT, OVER };

/* Sends, and keeps what is not taken. */
static enum step put(struct conn *c, const uint8_t *bytes, size_t length)
{
    size_t done = 0;
    while (done < length) {
        size_t n = 0;
        int result = SSL_write_ex(c->ssl, bytes + done, length - done, &n);
        if (result != 1) {
            if (!wait_for(c, result))
                return OVER;
            return keep(c, bytes + done, length - done) ? WAIT : OVER;
        }
        done += n;
    }
    return GO_ON;
}

static enum step put_pending(struct conn *c)
{
    while (c->pending_at < c->pending_length) {
        size_t n = 0;
        int result =
            SSL_write_ex(c->ssl, c->pending + c->pending_at, c->pending_length - c->pending_at, &n);
        if (result != 1)
            return wait_for(c, result) ? WAIT : OVER;
        c->pending_at += n;
    }
    free(c->pending);
    c->pending = NULL;
    c->pending_length = 0;
    return GO_ON;
}

static enum step give(struct conn *c)
{
    for (int i = 0; c->left > 0 && i < PIECES_A_TURN; i++) {
        size_t size = c->left < CHUNK ? (size_t)c->left : CHUNK;
        size_t n = 0;
        int result = SSL_write_ex(c->ssl, chunk, size, &n);
        if (result != 1)
            return wait_for(c, result) ? WAIT : OVER;
        c->left -= n;
    }
    if (c->left > 0)
        want(c, EPOLLOUT);
    return c->left > 0 ? WAIT : GO_ON;
}

/* What came, after the head. */
static enum step take(struct conn *c, const uint8_t *bytes, size_t length)
{
    switch (c->head[0]) {
    case 'E':
        return put(c, bytes, length);
    case 'S':
        c->left -= length < c->left ? length : c->left;
        return c->left == 0 ? put(c, (const uint8_t *)"k", 1) : GO_ON;
    default:
        return GO_ON;
    }
}

static enum step take_head(struct conn *c, const uint8_t **bytes, size_t *length)
{
    size_t n = BENCH_HEAD - c->head_length;
    if (n > *length)
        n = *length;
    memcpy(c->head + c->head_length, *bytes, n);
    c->head_length += n;
    *bytes += n;
    *length -= n;
    if (c->head_length == BENCH_HEAD)
        c->left = bench_size(c->head);
    return GO_ON;
}

static enum step read_some(struct conn *c)
{
    size_t n = 0;
    int result = SSL_read_ex(c->ssl, chunk, CHUNK, &n);
    if (result != 1)
        return wait_for(c, result) ? WAIT : OVER;
    const uint8_t *bytes = chunk;
    if (c->head_length < BENCH_HEAD)
        (void)take_head(c, &bytes, &n);
    if (n == 0)
        return GO_ON;
    return take(c, bytes, n);
}

static enum step advance(struct conn *c)
{
    if (!c->ready) {
        int result = SSL_accept(c->ssl);
        if (result != 1)
            return wait_for(c, result) ? WAIT : OVER;
        c->ready = true;
    }
    if (c->pending != NULL) {
        enum step step = put_pending(c);
        if (step != GO_ON)
            return step;
    }
    if (c->head_length == BENCH_HEAD && c->head[0] == 'G' && c->left > 0) {
        enum step step = give(c);
        if (step != GO_ON)
            return step;
    }
    return read_some(c);
}

static void on_conn(struct conn *c)
{
    enum step step = GO_ON;
    for (int i = 0; step == GO_ON && i < PIECES_A_TURN; i++)
        step = advance(c);
    if (step == OVER) {
        drop(c);
    } else if (step == GO_ON && SSL_pending(c->ssl) == 0 && !SSL_has_pending(c->ssl)) {
        want(c, EPOLLIN);
    } else if (step == GO_ON) {
        want(c, EPOLLIN | EPOLLOUT); /* more waits inside OpenSSL */
    }
}

/* The loop owns it from here on. */
static void watch(struct conn *c)
{
    struct epoll_event event = {.events = c->interest, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("epoll_ctl");
}

static void on_listener(int listener, SSL_CTX *ctx)
{
    for (int i = 0; i < 64; i++) { /* NOLINT(clang-analyzer-unix.Malloc): epoll keeps them */
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct conn *c = calloc(1, sizeof *c);
        if (c == NULL)
            die("memory");
        c->ssl = SSL_new(ctx);
        if (c->ssl == NULL || SSL_set_fd(c->ssl, fd) != 1)
            die("SSL_new");
        c->fd = fd;
        c->interest = EPOLLIN;
        watch(c);
    }
}

static SSL_CTX *make_context(const char *cert, const char *key)
{
    static const unsigned char id[] = "bench";
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                    SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, CHUNK);
    return ctx;
}

static int listen_on(const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 4096) != 0)
        die("listen");
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: bench-upstream PORT CERT KEY\n", stderr);
        return 2;
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    signal(SIGPIPE, SIG_IGN);
    SSL_CTX *ctx = make_context(argv[2], argv[3]);
    int listener = listen_on(argv[1]);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener};
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) != 0)
        die("epoll");
    event.data.ptr = NULL; /* stdin */
    (void)fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0)
        die("stdin must be a pipe");
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                return 0;
            if (events[i].data.ptr == &listener)
                on_listener(listener, ctx);
            else
                on_conn(events[i].data.ptr);
        }
    }
}
