/* hello_flood: begins TLS handshakes on a port of loopback, and leaves them once the server has
 * computed its answer. The same hello each time, so that it costs the server far more than us.
 *
 *     hello_flood PORT THREADS SECONDS < HELLO      prints how many were answered */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64

static unsigned char hello[4096];
static size_t hello_size;
static struct sockaddr_in at;
static atomic_ulong answered;
static double end;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void begin_one(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    struct timeval patience = {.tv_usec = 200000};
    unsigned char byte;
    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0 &&
        send(fd, hello, hello_size, MSG_NOSIGNAL) == (ssize_t)hello_size &&
        recv(fd, &byte, 1, 0) == 1)
        atomic_fetch_add(&answered, 1);
    close(fd);
}

static void *run(void *unused)
{
    (void)unused;
    while (now() < end)
        begin_one();
    return NULL;
}

int main(int argc, char *argv[])
{
    pthread_t threads[THREADS_MAX];
    if (argc != 4) {
        fprintf(stderr, "usage: hello_flood PORT THREADS SECONDS < HELLO\n");
        return 2;
    }
    at = (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                              .sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10))};
    unsigned count = (unsigned)strtoul(argv[2], NULL, 10);
    hello_size = fread(hello, 1, sizeof hello, stdin);
    end = now() + strtod(argv[3], NULL);
    if (count > THREADS_MAX || hello_size == 0)
        return 2;
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, run, NULL) != 0)
            return 1;
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    printf("answered %lu\n", atomic_load(&answered));
    return 0;
}
