/* A transport without a socket, for tests of the relay. Each operation does what its script says,
 * and beyond the script what a chooser says (see struct choices), and beyond that the plain thing.
 *
 * Both directions carry a known pattern, so that what is written to one fake can be held against
 * what was read from the other; broken rules are counted in `wrong`, with the first one in words.
 */
#ifndef ESCLUSA_FAKE_TRANSPORT_H
#define ESCLUSA_FAKE_TRANSPORT_H

#include <esclusa/transport.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- every way through a tree of choices, depth first ---- */

#define CHOICES_MAX 24

struct choices {
    unsigned taken[CHOICES_MAX], of[CHOICES_MAX];
    unsigned depth; /* choices beyond that are the first */
    unsigned used;
};

static inline unsigned choose(struct choices *c, unsigned of)
{
    if (c == NULL || c->used >= c->depth)
        return 0;
    if (c->of[c->used] == 0)
        c->of[c->used] = of; /* first time here: taken is 0 */
    return c->taken[c->used++];
}

/* To the next way. False: all have been gone. */
static inline bool choices_next(struct choices *c)
{
    while (c->used > 0 && c->taken[c->used - 1] + 1 >= c->of[c->used - 1]) {
        c->used--;
        c->taken[c->used] = 0;
        c->of[c->used] = 0;
    }
    if (c->used == 0)
        return false;
    c->taken[c->used - 1]++;
    c->used = 0;
    return true;
}

/* ---- the fake ---- */

enum fake_op { FAKE_NONE, FAKE_READ, FAKE_WRITE, FAKE_FLUSH, FAKE_SHUT, FAKE_OPS };

struct fake_step {
    enum tp_status status;
    size_t length; /* read: bytes given, write: bytes taken at most; 0: FAKE_PIECE, all */
    bool more;     /* read: the socket was not drained */
    bool buffered; /* read: has_buffered() afterwards */
};

#define FAKE_STEPS 32
#define FAKE_PIECE ((size_t)10)

struct fake_script {
    struct fake_step step[FAKE_STEPS];
    unsigned count, at;
};

struct fake {
    struct transport base; /* first: a struct transport * is a struct fake * */
    struct fake_script script[FAKE_OPS];
    struct choices *choices; /* NULL: beyond the script the plain thing happens */
    enum tp_status read_default;
    struct fake *other; /* what is written here was read there */

    uint64_t given, taken; /* bytes */
    bool unflushed;        /* taken bytes not yet in the kernel's hands */
    bool fresh;            /* may have something: the socket was reported readable */
    bool buffered;
    enum tp_status end; /* that read() gave */
    bool failed;        /* write, flush or shut_write gave TP_ERROR */
    bool cut_is_end;    /* a clean end may be told here although the other was cut */
    bool shut;          /* shut_write gave TP_OK */
    bool free_flush;    /* flush may say anything, even when nothing waits */
    unsigned calls[FAKE_OPS];
    unsigned wrong;
    char what[80]; /* the first wrong thing */

    struct fake_log *log;
};

/* What happened last, and first went wrong, on whichever fake shares it. */
struct fake_log {
    enum fake_op op;
    enum tp_status status;
    unsigned calls;
    const struct fake *bad; /* the side of the first TP_TRUNCATED or TP_ERROR */
    enum tp_status bad_status;
};

static inline struct fake *fake_of(struct transport *t)
{
    return (struct fake *)t;
}

static inline void fake_wrong(struct fake *f, const char *what)
{
    if (f->wrong++ == 0)
        snprintf(f->what, sizeof f->what, "%s", what);
}

static inline uint8_t fake_byte(uint64_t at)
{
    return (uint8_t)(at * 7 + (at >> 8) * 13);
}

static inline enum tp_status fake_done(struct fake *f, enum fake_op op, enum tp_status status)
{
    if (f->log == NULL)
        return status;
    f->log->op = op;
    f->log->status = status;
    f->log->calls++;
    if ((status == TP_TRUNCATED || status == TP_ERROR) && f->log->bad == NULL) {
        f->log->bad = f;
        f->log->bad_status = status;
    }
    return status;
}

static inline bool fake_scripted(struct fake *f, enum fake_op op, struct fake_step *step)
{
    struct fake_script *s = &f->script[op];
    f->calls[op]++;
    if (s->at >= s->count)
        return false;
    *step = s->step[s->at++];
    return true;
}

static inline enum tp_status fake_handshake(struct transport *t)
{
    (void)t;
    return TP_OK;
}

static inline void fake_choose_read(struct fake *f, struct fake_step *step)
{
    static const struct fake_step ways[] = {
        {.status = TP_EOF},   {.status = TP_OK, .more = true},
        {.status = TP_OK},    {.status = TP_OK, .buffered = true},
        {.status = TP_AGAIN}, {.status = TP_TRUNCATED},
        {.status = TP_ERROR},
    };
    if (f->choices != NULL)
        *step = ways[choose(f->choices, sizeof ways / sizeof ways[0])];
    else
        step->status = f->read_default;
}

static inline enum tp_status fake_read(struct transport *t, void *bytes, size_t size,
                                       size_t *length_r, bool *drained_r)
{
    struct fake *f = fake_of(t);
    struct fake_step step = {.status = TP_AGAIN};
    if (!fake_scripted(f, FAKE_READ, &step))
        fake_choose_read(f, &step);

    if (f->end != TP_OK)
        fake_wrong(f, "read after its end");
    if (f->other->failed)
        fake_wrong(f, "read for a destination that failed");
    if (f->other->taken != f->given || f->other->unflushed)
        fake_wrong(f, "read while something is undelivered");
    if (!f->fresh && !f->buffered && !f->failed) /* a broken one is looked at once more */
        fake_wrong(f, "a pointless read");

    *length_r = 0;
    *drained_r = true;
    f->buffered = step.buffered;
    f->fresh = step.status == TP_OK && step.more;
    if (step.status != TP_OK) {
        if (step.status != TP_AGAIN)
            f->end = step.status;
        return fake_done(f, FAKE_READ, step.status);
    }
    size_t length = step.length != 0 ? step.length : FAKE_PIECE;
    if (length > size)
        length = size;
    for (size_t i = 0; i < length; i++)
        ((uint8_t *)bytes)[i] = fake_byte(f->given + i);
    f->given += length;
    *length_r = length;
    *drained_r = !step.more;
    return fake_done(f, FAKE_READ, TP_OK);
}

static inline enum tp_status fake_write(struct transport *t, const void *bytes, size_t size,
                                        size_t *length_r)
{
    static const struct fake_step ways[] = {
        {.status = TP_OK},
        {.status = TP_OK, .length = 3},
        {.status = TP_AGAIN},
        {.status = TP_ERROR},
    };
    struct fake *f = fake_of(t);
    struct fake_step step = {.status = TP_OK};
    if (!fake_scripted(f, FAKE_WRITE, &step))
        step = ways[choose(f->choices, sizeof ways / sizeof ways[0])];

    *length_r = 0;
    if (size == 0)
        fake_wrong(f, "write of nothing");
    if (f->failed)
        fake_wrong(f, "write after an error");
    if (f->shut)
        fake_wrong(f, "write after shut_write");
    if (f->taken + size != f->other->given)
        fake_wrong(f, "write of something else than what waits");
    if (step.status != TP_OK) {
        f->failed = f->failed || step.status == TP_ERROR;
        return fake_done(f, FAKE_WRITE, step.status);
    }
    size_t length = step.length != 0 && step.length < size ? step.length : size;
    for (size_t i = 0; i < length; i++) {
        if (((const uint8_t *)bytes)[i] != fake_byte(f->taken + i))
            fake_wrong(f, "other bytes than those read");
    }
    f->taken += length;
    f->unflushed = true;
    *length_r = length;
    return fake_done(f, FAKE_WRITE, TP_OK);
}

static inline enum tp_status fake_told(struct fake *f, enum fake_op op)
{
    static const enum tp_status ways[] = {TP_OK, TP_AGAIN, TP_ERROR};
    struct fake_step step = {.status = TP_OK};
    if (!fake_scripted(f, op, &step))
        step.status = ways[choose(f->choices, sizeof ways / sizeof ways[0])];
    f->failed = f->failed || step.status == TP_ERROR;
    return step.status;
}

static inline enum tp_status fake_flush(struct transport *t)
{
    struct fake *f = fake_of(t);
    if (f->failed)
        fake_wrong(f, "flush after an error");
    /* As the real ones: nothing waits, nothing can go wrong. */
    enum tp_status status = f->unflushed || f->free_flush ? fake_told(f, FAKE_FLUSH) : TP_OK;
    if (status == TP_OK)
        f->unflushed = false;
    return fake_done(f, FAKE_FLUSH, status);
}

static inline enum tp_status fake_shut_write(struct transport *t)
{
    struct fake *f = fake_of(t);
    if (f->failed)
        fake_wrong(f, "shut_write after an error");
    if (f->shut)
        fake_wrong(f, "shut_write twice");
    if (f->taken != f->other->given || f->unflushed)
        fake_wrong(f, "shut_write before all was delivered");
    if (f->other->end != TP_EOF && !(f->cut_is_end && f->other->end == TP_TRUNCATED))
        fake_wrong(f, "shut_write without a clean end");
    enum tp_status status = fake_told(f, FAKE_SHUT);
    f->shut = status == TP_OK;
    return fake_done(f, FAKE_SHUT, status);
}

static inline bool fake_has_buffered(const struct transport *t)
{
    return ((const struct fake *)t)->buffered;
}

static inline void fake_destroy(struct transport *t)
{
    (void)t;
}

static const struct transport_ops fake_ops = {
    .handshake = fake_handshake,
    .read = fake_read,
    .write = fake_write,
    .flush = fake_flush,
    .shut_write = fake_shut_write,
    .has_buffered = fake_has_buffered,
    .destroy = fake_destroy,
};

/* Two fakes, each the other's other. */
static inline void fake_pair(struct fake *a, struct fake *b, struct fake_log *log)
{
    memset(log, 0, sizeof *log);
    struct fake *both[] = {a, b};
    for (int i = 0; i < 2; i++) {
        memset(both[i], 0, sizeof *both[i]);
        both[i]->base.ops = &fake_ops;
        both[i]->base.fd = -1;
        both[i]->read_default = TP_AGAIN;
        both[i]->other = both[1 - i];
        both[i]->fresh = true;
        both[i]->log = log;
    }
}

static inline void fake_add(struct fake *f, enum fake_op op, struct fake_step step)
{
    struct fake_script *s = &f->script[op];
    if (s->count < FAKE_STEPS)
        s->step[s->count++] = step;
    else
        abort();
}

/* fake_then(f, FAKE_READ, TP_OK, TP_OK, TP_EOF) */
#define fake_then(f, op, ...)                                                                      \
    do {                                                                                           \
        const enum tp_status fake_list_[] = {__VA_ARGS__};                                         \
        for (size_t fake_i_ = 0; fake_i_ < sizeof fake_list_ / sizeof fake_list_[0]; fake_i_++)    \
            fake_add(f, op, (struct fake_step){.status = fake_list_[fake_i_]});                    \
    } while (0)

#endif
