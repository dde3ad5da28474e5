/* tls_peer: a TLS server that is fast enough for the storm tests, which a Python one is not.
 *
 *     tls_peer echo|sink CERT KEY
 *
 * echo gives every byte back and ends when the peer has ended. sink reads to the end; TLS 1.3 peers
 * get OpenSSL's usual two session tickets. Prints "port N", and for each connection of sink
 * "COUNT SHA256 eof|truncated|error". One thread a connection; ends with the process. */
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
    bool echo;
};

#define PIECE ((size_t)64 * 1024)

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

static void *run(void *argument)
{
    struct job job = *(struct job *)argument;
    SSL *ssl = SSL_new(job.ctx);
    char rest[256];

    free(argument);
    if (ssl != NULL && SSL_set_fd(ssl, job.fd) == 1) {
        if (SSL_accept(ssl) == 1) {
            serve(ssl, job.echo);
            SSL_shutdown(ssl);
            shutdown(job.fd, SHUT_WR);
            while (recv(job.fd, rest, sizeof rest, 0) > 0)
                continue;
        } else if (!job.echo) {
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

int main(int argc, char *argv[])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    pthread_attr_t attributes;

    if (argc != 4 || (strcmp(argv[1], "echo") != 0 && strcmp(argv[1], "sink") != 0)) {
        fprintf(stderr, "usage: tls_peer echo|sink CERT KEY\n");
        return 2;
    }
    if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, argv[2]) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, argv[3], SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
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
        *job = (struct job){.ctx = ctx, .fd = fd, .echo = strcmp(argv[1], "echo") == 0};
        if (pthread_create(&thread, &attributes, run, job) != 0) {
            fprintf(stderr, "tls_peer: no thread\n");
            return 1;
        }
    }
}
