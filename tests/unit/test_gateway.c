/* The gateway as a whole, in process: tcp:// to tcp://, so that no certificate is needed. TLS and
 * the rest of the matrix are driven from tests/e2e. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "loopback.h"

#include <esclusa/config.h>
#include <esclusa/core.h>
#include <esclusa/net.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 10000

static int dial(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    struct timeval limit = {.tv_sec = WAIT_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* poll(2) first, so that a test that goes wrong ends. */
static int accept_one(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    return fd;
}

static size_t read_all(int fd, char *bytes, size_t size)
{
    size_t length = 0;
    while (length < size) {
        ssize_t n = read(fd, bytes + length, size - length);
        if (n <= 0)
            break;
        length += (size_t)n;
    }
    return length;
}

struct running {
    struct gateway *gateway;
    pthread_t thread;
};

static struct gateway *make(const char *workers, uint16_t listen_port, uint16_t upstream_port,
                            const char *drain, struct error *err)
{
    char from[64], to[64];
    snprintf(from, sizeof from, "127.0.0.1:%u", (unsigned)listen_port);
    snprintf(to, sizeof to, "tcp://127.0.0.1:%u", (unsigned)upstream_port);
    char *argv[] = {(char[]){"esclusa"},
                    (char[]){"--listen"},
                    from,
                    (char[]){"--connect"},
                    to,
                    (char[]){"--workers"},
                    strdup(workers),
                    (char[]){"--drain-timeout"},
                    strdup(drain),
                    NULL};
    struct config config;
    enum command command;
    error_init(err);
    assert_true(config_set_up(&config, err));
    assert_true(config_from_command_line(&config, 9, argv, &command, err));
    free(argv[6]);
    free(argv[8]);
    struct snapshot *snapshot = snapshot_create(&config, 0, err);
    assert_non_null(snapshot);
    config_fini(&config);
    struct gateway *gateway = gateway_create(snapshot, NULL, err);
    snapshot_unref(&snapshot);
    return gateway;
}

static void *run(void *context)
{
    gateway_run(context);
    return NULL;
}

static struct running start(const char *workers, uint16_t listen_port, uint16_t upstream_port,
                            const char *drain)
{
    struct error err;
    struct running r = {.gateway = make(workers, listen_port, upstream_port, drain, &err)};
    assert_non_null(r.gateway);
    return r;
}

static void stop(struct running *r)
{
    pthread_join(r->thread, NULL);
    gateway_destroy(&r->gateway);
    assert_null(r->gateway);
}

static void relays_both_ways_with_half_close_and_leaves_nothing_behind(void **state)
{
    (void)state;
    const char *const workers[] = {"1", "2"};
    int before = count_descriptors();
    for (size_t i = 0; i < 2; i++) {
        uint16_t up_port, port = free_port();
        int listener = listen_anywhere(&up_port);
        struct running r = start(workers[i], port, up_port, "5s");
        pthread_create(&r.thread, NULL, run, r.gateway);

        int consumer = dial(port);
        assert_int_equal(write(consumer, "question", 8), 8);
        shutdown(consumer, SHUT_WR);
        int upstream = accept_one(listener);
        char bytes[32];
        assert_int_equal(read_all(upstream, bytes, sizeof bytes), 8); /* and the end */
        assert_memory_equal(bytes, "question", 8);
        assert_int_equal(write(upstream, "answer", 6), 6);
        close(upstream);
        assert_int_equal(read_all(consumer, bytes, sizeof bytes), 6);
        assert_memory_equal(bytes, "answer", 6);
        assert_int_equal(read(consumer, bytes, 1), 0);
        close(consumer);

        kill(getpid(), SIGTERM);
        stop(&r);
        close(listener);
        assert_int_equal(count_descriptors(), before);
    }
}

static void a_consumer_whose_upstream_is_not_there_is_reset(void **state)
{
    (void)state;
    uint16_t port = free_port();
    struct running r = start("1", port, free_port(), "5s");
    pthread_create(&r.thread, NULL, run, r.gateway);
    int consumer = dial(port);
    char byte;
    assert_int_equal(read(consumer, &byte, 1), -1);
    assert_int_equal(errno, ECONNRESET);
    close(consumer);
    kill(getpid(), SIGTERM);
    stop(&r);
}

static void drain_ends_a_session_at_its_deadline_and_a_second_signal_at_once(void **state)
{
    (void)state;
    const char *const drains[] = {"300ms", "1h"};
    for (size_t i = 0; i < 2; i++) {
        uint16_t up_port, port = free_port();
        int listener = listen_anywhere(&up_port);
        struct running r = start("2", port, up_port, drains[i]);
        pthread_create(&r.thread, NULL, run, r.gateway);
        int consumer = dial(port);
        int upstream = accept_one(listener);
        char byte;
        assert_int_equal(write(upstream, "x", 1), 1);
        assert_int_equal(read(consumer, &byte, 1), 1);

        kill(getpid(), SIGTERM);
        if (i == 1) {
            struct timespec a_while = {.tv_nsec = 200000000};
            nanosleep(&a_while, NULL); /* two signals at once are one */
            kill(getpid(), SIGTERM);
        }
        stop(&r); /* hangs, and ctest's time runs out, if it does not end */
        assert_true(read(consumer, &byte, 1) <= 0);
        close(consumer);
        close(upstream);
        close(listener);
    }
}

static void a_taken_port_starts_nothing(void **state)
{
    (void)state;
    uint16_t port;
    int taken = listen_anywhere(&port);
    int before = count_descriptors();
    struct error err;
    assert_null(make("2", port, 1, "5s", &err));
    assert_non_null(strstr(err.text, "127.0.0.1"));
    assert_int_equal(count_descriptors(), before);
    close(taken);
}

/* ---- reloads ---- */

/* A configuration in a file that is written anew, and how often it was loaded. */
struct files {
    char path[64];
    uint16_t port;
    atomic_uint loads;
    atomic_uint signals; /* SIGHUPs to send from within loads */
};

static void write_config(const struct files *f, const char *settings)
{
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    fprintf(file,
            "%s\nservices = ( { name = \"one\"; listen = \"127.0.0.1:%u\"; "
            "connect = \"tcp://127.0.0.1:1\"; } );\n",
            settings, (unsigned)f->port);
    assert_int_equal(fclose(file), 0);
}

static struct snapshot *load_files(void *context, unsigned workers, struct error *err)
{
    struct files *f = context;
    struct config config;
    struct snapshot *snapshot = NULL;
    atomic_fetch_add(&f->loads, 1);
    if (f->signals > 0) {
        f->signals--;
        kill(getpid(), SIGHUP);
    }
    if (!config_set_up(&config, err))
        return NULL;
    if (config_from_file(&config, f->path, err))
        snapshot = snapshot_create(&config, workers, err);
    config_fini(&config);
    return snapshot;
}

static struct running start_from_files(struct files *f, const struct timespec *since)
{
    struct error err;
    error_init(&err);
    struct snapshot *snapshot = load_files(f, 0, &err);
    assert_non_null(snapshot);
    atomic_store(&f->loads, 0);
    struct timespec a_tick = {.tv_nsec = 20000000}; /* time stamps of files are that coarse */
    nanosleep(&a_tick, NULL);
    if (since->tv_sec != 0)
        write_config(f, "watch_interval = \"100ms\"; drain_timeout = \"1s\";");
    struct snapshot_source source = {.load = load_files, .context = f, .since = *since};
    struct running r = {.gateway = gateway_create(snapshot, &source, &err)};
    assert_non_null(r.gateway);
    snapshot_unref(&snapshot);
    pthread_create(&r.thread, NULL, run, r.gateway);
    return r;
}

static void wait_for_loads(struct files *f, unsigned count)
{
    struct timespec a_while = {.tv_nsec = 10000000};
    for (int ms = 0; atomic_load(&f->loads) < count && ms < WAIT_MS; ms += 10)
        nanosleep(&a_while, NULL);
    assert_true(atomic_load(&f->loads) >= count);
}

static struct files make_files(void)
{
    struct files f = {.path = "/tmp/esclusa-gateway-XXXXXX", .port = free_port()};
    int fd = mkstemp(f.path);
    assert_true(fd >= 0);
    close(fd);
    write_config(&f, "watch_interval = \"100ms\";");
    return f;
}

static void a_file_that_changed_while_it_was_first_read_is_read_again(void **state)
{
    (void)state;
    struct files f = make_files();
    struct timespec since;
    clock_gettime(CLOCK_REALTIME, &since);
    struct running r = start_from_files(&f, &since);
    wait_for_loads(&f, 1);
    struct timespec a_while = {.tv_nsec = 500000000};
    nanosleep(&a_while, NULL);
    assert_int_equal(atomic_load(&f.loads), 1); /* and once only */
    kill(getpid(), SIGTERM);
    stop(&r);
    unlink(f.path);
}

static void one_asked_for_during_another_follows_it(void **state)
{
    (void)state;
    struct files f = make_files();
    struct timespec unknown = {0};
    int before = count_descriptors();
    struct running r = start_from_files(&f, &unknown);
    f.signals = 20;
    kill(getpid(), SIGHUP);
    wait_for_loads(&f, 21);
    struct timespec a_while = {.tv_nsec = 300000000};
    nanosleep(&a_while, NULL);
    assert_int_equal(atomic_load(&f.loads), 21);
    close(dial(f.port));
    write_config(&f, "idle_timeout");
    wait_for_loads(&f, 22); /* the watch, with a configuration that does not load */
    kill(getpid(), SIGTERM);
    stop(&r);
    unlink(f.path);
    assert_int_equal(count_descriptors(), before);
}

int main(void)
{
    gateway_block_signals();
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, 2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relays_both_ways_with_half_close_and_leaves_nothing_behind),
        cmocka_unit_test(a_consumer_whose_upstream_is_not_there_is_reset),
        cmocka_unit_test(drain_ends_a_session_at_its_deadline_and_a_second_signal_at_once),
        cmocka_unit_test(a_taken_port_starts_nothing),
        cmocka_unit_test(a_file_that_changed_while_it_was_first_read_is_read_again),
        cmocka_unit_test(one_asked_for_during_another_follows_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
