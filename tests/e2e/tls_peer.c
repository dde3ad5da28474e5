/* tls_peer: a TLS peer that is fast enough for the storm tests, or does what Python cannot ask for.
 *
 *     tls_peer echo|sink|flood|tickets|rekey CERT KEY      a server
 *     tls_peer flood|rekey PORT                            a client, that verifies nothing
 *
 * echo gives every byte back and ends when the peer has ended. sink reads to the end; TLS 1.3 peers
 * get OpenSSL's usual two session tickets. flood and tickets send KeyUpdates, session tickets, and
 * nothing else as long as they can. rekey sends 32 MiB with a KeyUpdate that wants an answer each
 * MiB, ends, and reads to the end.
 * A server prints "port N", and for each connection of sink "COUNT SHA256 eof|truncated|error", of
 * flood, tickets and rekey, as a client does, "sent MESSAGES". One thread a connection; ends with
 * the process. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct job {
    SSL_CTX *ctx;
    int fd;
    const char *mode;
};

static bool is(const struct job *job, const char *mode)
{
    return strcmp(job->mode, mode) == 0;
}

#define PIECE        ((size_t)64 * 1024)
#define REKEY_EACH   ((size_t)16)
#define REKEY_PIECES (32 * REKEY_EACH)

static const char *end_word(SSL *ssl, int result)
{
    int error = SSL_get_error(ssl, result);

    if (error == SSL_ERROR_ZERO_RETURN)
        return "eof";
    if (error == SSL_ERROR_SSL &&
        ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return "truncated";
    return "error";
}

/* Reads to the end of the stream. */
static void serve(SSL *ssl, bool echo)
{
    unsigned char *piece = malloc(PIECE);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;
    char text[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned long long count = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    const char *end = "error";

    if (piece != NULL && md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1) {
        for (;;) {
            ERR_clear_error();
            int n = SSL_read(ssl, piece, (int)PIECE);
            if (n <= 0) {
                end = end_word(ssl, n);
                break;
            }
            count += (unsigned long long)n;
            if (echo && SSL_write(ssl, piece, n) <= 0)
                break;
            if (!echo)
                EVP_DigestUpdate(md, piece, (size_t)n);
        }
        EVP_DigestFinal_ex(md, digest, &digest_size);
    }
    if (!echo) {
        for (unsigned i = 0; i < digest_size; i++)
            snprintf(text + (size_t)2 * i, 3, "%02x", digest[i]);
        printf("%llu %s %s\n", count, text, end);
    }
    EVP_MD_CTX_free(md);
    free(piece);
}

/* Until the peer takes no more. */
static void flood(SSL *ssl, bool tickets)
{
    unsigned sent = 0;
    errno = 0; /* OpenSSL takes it for a success when nobody reads tickets any more */
    while (errno != EPIPE && errno != ECONNRESET &&
           (tickets ? SSL_new_session_ticket(ssl)
                    : SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED)) == 1 &&
           SSL_do_handshake(ssl) == 1)
        sent++;
    printf("sent %u\n", sent);
}

static void rekey(SSL *ssl)
{
    static const unsigned char piece[PIECE];
    unsigned sent = 0;
    for (size_t i = 0; i < REKEY_PIECES; i++) {
        if (i % REKEY_EACH == REKEY_EACH - 1) {
            if (SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) != 1 || SSL_do_handshake(ssl) != 1)
                break;
            sent++;
        }
        if (SSL_write(ssl, piece, (int)sizeof piece) <= 0)
            break;
    }
    printf("sent %u\n", sent);
}

static void read_to_end(SSL *ssl)
{
    unsigned char rest[4096];
    while (SSL_read(ssl, rest, (int)sizeof rest) > 0)
        continue;
}

static void talk(SSL *ssl, const struct job *job)
{
    bool serves = is(job, "echo") || is(job, "sink");
    if (serves)
        serve(ssl, is(job, "echo"));
    else if (is(job, "rekey"))
        rekey(ssl);
    else
        flood(ssl, is(job, "tickets"));
    SSL_shutdown(ssl);
    if (!serves)
        read_to_end(ssl);
}

static void *run(void *argument)
{
    struct job job = *(struct job *)argument;
    SSL *ssl = SSL_new(job.ctx);
    char rest[256];

    free(argument);
    if (ssl != NULL && SSL_set_fd(ssl, job.fd) == 1) {
        if (SSL_accept(ssl) == 1) {
            talk(ssl, &job);
            shutdown(job.fd, SHUT_WR);
            while (recv(job.fd, rest, sizeof rest, 0) > 0)
                continue;
        } else if (is(&job, "sink")) {
            printf("0 - handshake\n");
        }
    }
    SSL_free(ssl);
    close(job.fd);
    return NULL;
}

static int open_listener(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &length) != 0) {
        perror("tls_peer: listen");
        exit(1);
    }
    printf("port %d\n", ntohs(at.sin_port));
    return fd;
}

static int be_client(const char *mode, const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    struct job job = {.ctx = SSL_CTX_new(TLS_client_method()),
                      .fd = socket(AF_INET, SOCK_STREAM, 0),
                      .mode = mode};
    SSL *ssl = job.ctx == NULL ? NULL : SSL_new(job.ctx);
    if (ssl == NULL || job.fd < 0 || connect(job.fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        SSL_set_fd(ssl, job.fd) != 1 || SSL_connect(ssl) != 1) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    talk(ssl, &job);
    SSL_free(ssl);
    SSL_CTX_free(job.ctx);
    close(job.fd);
    return 0;
}

static bool knows(const char *mode, bool server)
{
    static const char *const modes[] = {"flood", "rekey", "echo", "sink", "tickets"};
    for (size_t i = 0; i < (server ? sizeof modes / sizeof modes[0] : 2); i++)
        if (strcmp(mode, modes[i]) == 0)
            return true;
    return false;
}

int main(int argc, char *argv[])
{
    SSL_CTX *ctx;
    pthread_attr_t attributes;

    if ((argc != 3 && argc != 4) || !knows(argv[1], argc == 4)) {
        fprintf(stderr, "usage: tls_peer echo|sink|flood|tickets|rekey CERT KEY\n"
                        "       tls_peer flood|rekey PORT\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3)
        return be_client(argv[1], argv[2]);
    ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, argv[2]) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, argv[3], SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, (size_t)256 * 1024);

    int listener = open_listener();
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        int on = 1;
        pthread_t thread;
        struct job *job = malloc(sizeof *job);

        if (fd < 0 || job == NULL) {
            free(job);
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            perror("tls_peer: accept");
            return 1;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        *job = (struct job){.ctx = ctx, .fd = fd, .mode = argv[1]};
        if (pthread_create(&thread, &attributes, run, job) != 0) {
            fprintf(stderr, "tls_peer: no thread\n");
            return 1;
        }
    }
}
