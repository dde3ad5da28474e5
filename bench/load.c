/* bench-load: consumers on plain TCP. One thread, one epoll loop; prints one JSON object.
 *
 *   bench-load PORT up CONNECTIONS BYTES        all together, cut in equal parts
 *   bench-load PORT down CONNECTIONS BYTES
 *   bench-load PORT ping CONNECTIONS SECONDS    64-byte round trips
 *   bench-load PORT connect CONNECTIONS COUNT [PAUSE]
 *                                               new connection to first echoed byte; CONNECTIONS at
 *                                               a time, COUNT in all, PAUSE ms before the next
 *   bench-load PORT idle CONNECTIONS            opens them, prints, ends when its stdin does */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK    ((size_t)256 * 1024)
#define EVENTS   256
#define MESSAGE  64
#define OPENING  128 /* `idle`: connects in progress */
#define PATIENCE 120 /* seconds without any progress */

enum mode { UP, DOWN, PING, CONNECT, IDLE };

struct conn {
    int fd;
    bool connected;
    uint64_t to_send, to_come; /* bytes of this request, the head included in to_send */
    uint64_t began_ns;
};

static struct run {
    enum mode mode;
    struct sockaddr_in to;
    unsigned connections;
    uint64_t amount; /* bytes, nanoseconds or connections */
    uint64_t begun, finished, failed, opening;
    uint64_t end_ns;
    unsigned pause_ms;
    uint32_t *latencies; /* ns / 16: 68 s at most */
    size_t count, room;
} run;

static int epoll_fd;
static uint8_t chunk[CHUNK];

static uint64_t now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

_Noreturn static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void latency(uint64_t ns)
{
    if (run.count == run.room) {
        run.room = run.room == 0 ? 1u << 16 : run.room * 2;
        run.latencies = realloc(run.latencies, run.room * sizeof *run.latencies);
        if (run.latencies == NULL)
            die("memory");
    }
    run.latencies[run.count++] = (uint32_t)(ns / 16);
}

static void interest(struct conn *c, int operation, unsigned events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event) != 0)
        die("epoll_ctl");
}

/* What a connection asks for. */
static void request(struct conn *c)
{
    switch (run.mode) {
    case UP:
        c->to_send = BENCH_HEAD + run.amount / run.connections;
        c->to_come = 1;
        break;
    case DOWN:
        c->to_send = BENCH_HEAD;
        c->to_come = run.amount / run.connections;
        break;
    case PING:
        c->to_send = BENCH_HEAD + MESSAGE;
        c->to_come = MESSAGE;
        break;
    case CONNECT:
    case IDLE:
        c->to_send = BENCH_HEAD + 1;
        c->to_come = 1;
        break;
    }
}

static void open_one(struct conn *c)
{
    int one = 1;
    memset(c, 0, sizeof *c);
    request(c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->began_ns = now_ns();
    if (connect(c->fd, (struct sockaddr *)&run.to, sizeof run.to) != 0 && errno != EINPROGRESS)
        die("connect");
    run.begun++;
    run.opening++;
    interest(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

/* Sends what is due; the head goes first, in the same segment. False: it failed. */
static bool send_due(struct conn *c, uint64_t whole)
{
    while (c->to_send > 0) {
        uint64_t sent = whole - c->to_send;
        size_t size = c->to_send < CHUNK ? (size_t)c->to_send : CHUNK;
        uint8_t head[BENCH_HEAD + MESSAGE];
        const uint8_t *from = chunk;
        if (sent < BENCH_HEAD) {
            static const char letters[] = {'S', 'G', 'E', 'E', 'E'};
            memset(head, 'x', sizeof head);
            bench_head(head, letters[run.mode], run.mode == DOWN ? c->to_come : whole - BENCH_HEAD);
            size = whole - sent < sizeof head - sent ? (size_t)(whole - sent)
                                                     : sizeof head - (size_t)sent;
            from = head + sent;
        }
        ssize_t n = send(c->fd, from, size, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN;
        c->to_send -= (uint64_t)n;
    }
    return true;
}

static void finished(struct conn *c, bool good)
{
    if (good)
        run.finished++;
    else
        run.failed++;
    close(c->fd);
    c->fd = -1;
}

/* An answer is whole. */
static void answered(struct conn *c)
{
    uint64_t now = now_ns();
    switch (run.mode) {
    case PING:
        latency(now - c->began_ns);
        if (now >= run.end_ns) {
            finished(c, true);
            return;
        }
        c->began_ns = now;
        c->to_send = c->to_come = MESSAGE;
        if (send(c->fd, chunk, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
            finished(c, false);
        else
            c->to_send = 0;
        return;
    case CONNECT:
        latency(now - c->began_ns);
        finished(c, true);
        if (run.pause_ms > 0)
            (void)usleep(run.pause_ms * 1000);
        if (run.begun < run.amount)
            open_one(c);
        return;
    case IDLE:
        run.finished++;
        return;
    case UP:
    case DOWN:
        finished(c, true);
        return;
    }
}

static void on_conn(struct conn *c, unsigned events)
{
    struct conn whole;
    request(&whole);
    if (!c->connected && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
        c->connected = true;
        run.opening--;
    }
    if (c->to_send > 0 && (events & EPOLLOUT) != 0) {
        if (!send_due(c, whole.to_send)) {
            finished(c, false);
            return;
        }
        if (c->to_send == 0)
            interest(c, EPOLL_CTL_MOD, EPOLLIN);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
        return;
    ssize_t n = recv(c->fd, chunk, CHUNK, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || (uint64_t)n > c->to_come) {
        finished(c, false);
        return;
    }
    c->to_come -= (uint64_t)n;
    if (c->to_come == 0)
        answered(c);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile(double part)
{
    if (run.count == 0)
        return 0;
    return (double)run.latencies[(size_t)(part * (double)(run.count - 1))] * 16 / 1000;
}

static void print_result(uint64_t began)
{
    qsort(run.latencies, run.count, sizeof *run.latencies, by_value);
    printf("{\"seconds\": %.3f, \"finished\": %llu, \"failed\": %llu, \"count\": %zu, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           (double)(now_ns() - began) / 1e9, (unsigned long long)run.finished,
           (unsigned long long)run.failed, run.count, percentile(0.5), percentile(0.99));
    fflush(stdout);
}

static enum mode mode_of(const char *word)
{
    static const char *const words[] = {"up", "down", "ping", "connect", "idle"};
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i]) == 0)
            return (enum mode)i;
    fputs("unknown mode\n", stderr);
    exit(2);
}

/* All of them are over; `idle`: all are open. */
static bool over(uint64_t wanted)
{
    return run.finished + run.failed >= wanted;
}

static void open_more(struct conn *conns, uint64_t wanted)
{
    while (run.begun < wanted && run.begun < run.connections && run.opening < OPENING)
        open_one(&conns[run.begun]);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fputs("usage: bench-load PORT up|down|ping|connect|idle CONNECTIONS [AMOUNT]\n", stderr);
        return 2;
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    signal(SIGPIPE, SIG_IGN);
    memset(chunk, 'x', sizeof chunk);
    run.mode = mode_of(argv[2]);
    run.to.sin_family = AF_INET;
    run.to.sin_port = htons((uint16_t)atoi(argv[1]));
    run.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    run.connections = (unsigned)strtoul(argv[3], NULL, 10);
    run.amount = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
    run.pause_ms = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 0;
    uint64_t wanted = run.mode == CONNECT ? run.amount : run.connections;
    struct conn *conns = calloc(run.connections, sizeof *conns);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (conns == NULL || epoll_fd < 0)
        die("start");

    uint64_t began = now_ns();
    run.end_ns = began + (run.mode == PING ? run.amount * 1000000000u : 0);
    while (!over(wanted)) {
        struct epoll_event events[EVENTS];
        open_more(conns, wanted);
        int count = epoll_wait(epoll_fd, events, EVENTS, PATIENCE * 1000);
        if (count == 0) {
            fputs("no progress\n", stderr);
            exit(1);
        }
        for (int i = 0; i < count; i++)
            on_conn(events[i].data.ptr, events[i].events);
    }
    print_result(began);
    if (run.mode == IDLE) {
        char byte;
        while (read(STDIN_FILENO, &byte, 1) > 0)
            continue;
    }
    free(conns);
    return run.failed == 0 ? 0 : 1;
}
