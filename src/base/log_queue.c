/* Lines on their way: a ring that any thread fills, and one thread that empties it, so that whoever
 * logs never waits for whoever reads. While there is no such thread (at the start, in `check`, at
 * the very end) a line is written by its own thread, if it is taken at once. */
#include "log_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define RING_BYTES  ((size_t)1024 * 1024)
#define BATCH_BYTES ((size_t)64 * 1024)
#define GATHER_US   2000 /* lines that come together are written together */
#define NS_A_US     1000
#define NS_A_SECOND 1000000000L
#define NS_A_MS     1000000L
#define MS_A_SECOND 1000

struct entry {
    uint32_t length;
    uint32_t level;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t filled, ended;
    pthread_t thread;
    bool running, waiting, stopping, over;
    size_t head, used; /* bytes of the ring: where the next one goes */
    uint64_t dropped;  /* lines, since it was last said */
    char ring[RING_BYTES];
} queue = {.mutex = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

static atomic_uint_fast64_t dropped_ever;

uint64_t log_lines_dropped(void)
{
    return atomic_load_explicit(&dropped_ever, memory_order_relaxed);
}

static void drop(void)
{
    queue.dropped++;
    atomic_fetch_add_explicit(&dropped_ever, 1, memory_order_relaxed);
}

/* ---- the ring; the mutex is held ---- */

static void copy_in(const void *bytes, size_t length)
{
    const size_t to_end = RING_BYTES - queue.head;
    const size_t first = length < to_end ? length : to_end;
    memcpy(queue.ring + queue.head, bytes, first);
    memcpy(queue.ring, (const char *)bytes + first, length - first);
    queue.head = (queue.head + length) % RING_BYTES;
    queue.used += length;
}

static size_t tail(void)
{
    return (queue.head + RING_BYTES - queue.used) % RING_BYTES;
}

static void peek(void *bytes, size_t length)
{
    const size_t from = tail();
    const size_t to_end = RING_BYTES - from;
    const size_t first = length < to_end ? length : to_end;
    memcpy(bytes, queue.ring + from, first);
    memcpy((char *)bytes + first, queue.ring, length - first);
}

/* Whole entries, as many as fit. */
static size_t take(char *batch)
{
    size_t size = 0;
    while (queue.used > 0) {
        struct entry e;
        peek(&e, sizeof(e));
        if (size + sizeof(e) + e.length > BATCH_BYTES)
            break;
        peek(batch + size, sizeof(e) + e.length);
        size += sizeof(e) + e.length;
        queue.used -= sizeof(e) + e.length;
    }
    return size;
}

/* ---- the writer ---- */

static void lost(uint64_t lines)
{
    pthread_mutex_lock(&queue.mutex);
    for (uint64_t i = 0; i < lines; i++)
        drop();
    pthread_mutex_unlock(&queue.mutex);
}

static void write_each(const char *batch, size_t size)
{
    for (size_t at = 0; at < size;) {
        struct entry e;
        memcpy(&e, batch + at, sizeof(e));
        if (!log_sink_write(batch + at + sizeof(e), e.length, (enum log_level)e.level, true))
            lost(1);
        at += sizeof(e) + e.length;
    }
}

/* A file is ours alone: one call for all. */
static void write_together(char *batch, size_t size)
{
    size_t length = 0;
    uint64_t lines = 0;
    for (size_t at = 0; at < size; lines++) {
        struct entry e;
        memcpy(&e, batch + at, sizeof(e));
        memmove(batch + length, batch + at + sizeof(e), e.length);
        length += e.length;
        at += sizeof(e) + e.length;
    }
    if (length > 0 && !log_sink_write(batch, length, LOG_LEVEL_INFO, true))
        lost(lines);
}

static void tell_dropped(uint64_t lines)
{
    struct log_line line;
    log_dropped_line(&line, lines);
    if (!log_sink_write(line.text, line.length, LOG_LEVEL_ERROR, true)) {
        pthread_mutex_lock(&queue.mutex);
        queue.dropped += lines;
        pthread_mutex_unlock(&queue.mutex);
    }
}

static void gather(void)
{
    const struct timespec pause = {.tv_nsec = (long)GATHER_US * NS_A_US};
    (void)nanosleep(&pause, NULL);
}

static void *run(void *unused)
{
    static char batch[BATCH_BYTES];
    (void)unused;
    pthread_mutex_lock(&queue.mutex);
    while (queue.used > 0 || !queue.stopping) {
        if (queue.used == 0) {
            queue.waiting = true;
            pthread_cond_wait(&queue.filled, &queue.mutex);
            queue.waiting = false;
            if (!queue.stopping) {
                pthread_mutex_unlock(&queue.mutex);
                gather();
                pthread_mutex_lock(&queue.mutex);
            }
        }
        const size_t size = take(batch);
        const uint64_t dropped = queue.dropped;
        queue.dropped = 0;
        pthread_mutex_unlock(&queue.mutex);
        if (log_sink_is_file())
            write_together(batch, size);
        else
            write_each(batch, size);
        if (dropped > 0)
            tell_dropped(dropped);
        pthread_mutex_lock(&queue.mutex);
    }
    queue.over = true;
    pthread_cond_signal(&queue.ended);
    pthread_mutex_unlock(&queue.mutex);
    return NULL;
}

bool log_start(struct error *err)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&queue.ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    queue.stopping = queue.over = false;
    int why = pthread_create(&queue.thread, NULL, run, NULL);
    if (why != 0)
        return error_set_errno(err, why, "cannot start the log's thread");
    pthread_mutex_lock(&queue.mutex);
    queue.running = true;
    pthread_mutex_unlock(&queue.mutex);
    return true;
}

static struct timespec in_ms(int64_t ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / MS_A_SECOND;
    at.tv_nsec += (long)(ms % MS_A_SECOND) * NS_A_MS;
    if (at.tv_nsec >= NS_A_SECOND) {
        at.tv_sec++;
        at.tv_nsec -= NS_A_SECOND;
    }
    return at;
}

void log_stop(int64_t wait_ms)
{
    const struct timespec until = in_ms(wait_ms);
    pthread_mutex_lock(&queue.mutex);
    if (!queue.running) {
        pthread_mutex_unlock(&queue.mutex);
        return;
    }
    queue.stopping = true;
    pthread_cond_signal(&queue.filled);
    int why = 0;
    while (!queue.over && why != ETIMEDOUT)
        why = pthread_cond_timedwait(&queue.ended, &queue.mutex, &until);
    const bool over = queue.over;
    queue.running = !over;
    pthread_mutex_unlock(&queue.mutex);
    if (over)
        pthread_join(queue.thread, NULL);
    else
        pthread_detach(queue.thread); /* whoever reads has stopped: it ends with the process */
}

/* ---- filling it ---- */

void log_queue_begin(void)
{
    queue.dropped = 0;
}

static void enqueue(const struct log_line *line, enum log_level level)
{
    const struct entry e = {.length = (uint32_t)line->length, .level = (uint32_t)level};
    if (queue.used + sizeof(e) + e.length > RING_BYTES) {
        drop();
        return;
    }
    copy_in(&e, sizeof(e));
    copy_in(line->text, e.length);
    if (queue.waiting)
        pthread_cond_signal(&queue.filled);
}

static void write_at_once(const struct log_line *line, enum log_level level)
{
    if (queue.dropped > 0) {
        struct log_line note;
        log_dropped_line(&note, queue.dropped);
        if (log_sink_write(note.text, note.length, LOG_LEVEL_ERROR, false))
            queue.dropped = 0;
    }
    if (queue.dropped > 0 || !log_sink_write(line->text, line->length, level, false))
        drop();
}

void log_queue_put(const struct log_line *line, enum log_level level)
{
    int saved = errno;
    pthread_mutex_lock(&queue.mutex);
    if (queue.running)
        enqueue(line, level);
    else
        write_at_once(line, level);
    pthread_mutex_unlock(&queue.mutex);
    errno = saved;
}
