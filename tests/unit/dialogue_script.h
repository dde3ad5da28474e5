/* Dialogues by script: what we must say, what the peer says, what comes of it; heard at once and
 * byte by byte. */
#ifndef ESCLUSA_TEST_DIALOGUE_SCRIPT_H
#define ESCLUSA_TEST_DIALOGUE_SCRIPT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/dialogue.h>

#include <string.h>

struct bytes {
    const void *at;
    size_t length;
};

#define B(text)                                                                                    \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

struct exchange {
    struct bytes say, hear;
};

#define EXCHANGES_MAX 5

struct script {
    const char *name;
    struct dialogue_order order;
    struct exchange talk[EXCHANGES_MAX]; /* up to the first that hears nothing */
    enum dialogue_fault fault;
    const char *error, *remedy; /* are part of it; NULL: none at all */
    struct bytes early, rest;
    bool together; /* what is wrong is that it came together: not byte by byte */
};

static inline void assert_bytes(const char *name, const char *what, const void *at, size_t length,
                                struct bytes expected)
{
    if (length != expected.length || (length > 0 && memcmp(at, expected.at, length) != 0))
        fail_msg("%s: %s: \"%.*s\" (%zu) is not \"%.*s\" (%zu)", name, what, (int)length,
                 length > 0 ? (const char *)at : "", length, (int)expected.length,
                 expected.length > 0 ? (const char *)expected.at : "", expected.length);
}

static inline void assert_says(const char *name, struct dialogue *d, struct bytes expected)
{
    const uint8_t *bytes;
    size_t length = dialogue_pending(d, &bytes);
    assert_bytes(name, "says", bytes, length, expected);
    for (; length > 0; length--) /* the socket may take little */
        dialogue_sent(d, 1);
    assert_int_equal(dialogue_pending(d, &bytes), 0);
}

static inline void assert_part(const char *name, const char *whole, const char *part)
{
    if (part == NULL && whole != NULL && whole[0] != '\0')
        fail_msg("%s: \"%s\" where nothing is expected", name, whole);
    if (part != NULL && (whole == NULL || strstr(whole, part) == NULL))
        fail_msg("%s: \"%s\" does not say \"%s\"", name, whole == NULL ? "" : whole, part);
}

static inline void hear(struct dialogue *d, struct bytes what, size_t chunk)
{
    /* Memory of that very size: a read past its end is seen. */
    for (size_t at = 0, n; at < what.length; at += n) {
        n = what.length - at < chunk ? what.length - at : chunk;
        uint8_t *copy = test_malloc(n);
        memcpy(copy, (const uint8_t *)what.at + at, n);
        dialogue_feed(d, copy, n);
        test_free(copy);
    }
}

static inline void assert_outcome(const struct script *s, struct dialogue *d)
{
    enum dialogue_state state = s->fault == DIALOGUE_FAULT_NONE ? DIALOGUE_DONE : DIALOGUE_FAILED;
    const uint8_t *bytes;
    if (d->fault != s->fault || d->state != state)
        fail_msg("%s: state %d, fault %d: %s", s->name, (int)d->state, (int)d->fault, d->error);
    assert_part(s->name, d->error, s->error);
    assert_part(s->name, d->remedy, s->remedy);
    assert_bytes(s->name, "early", buf_peek(&d->early), buf_length(&d->early), s->early);
    assert_bytes(s->name, "rest", buf_peek(dialogue_rest(d)), buf_length(dialogue_rest(d)),
                 s->rest);
    if (state == DIALOGUE_FAILED)
        assert_int_equal(dialogue_pending(d, &bytes), 0);
}

static inline void play(const struct script *s, size_t chunk)
{
    struct dialogue *d = dialogue_create(&s->order);
    assert_non_null(d);
    for (size_t i = 0; i < EXCHANGES_MAX; i++) {
        if (d->state != DIALOGUE_FAILED)
            assert_says(s->name, d, s->talk[i].say);
        if (s->talk[i].hear.length == 0)
            break;
        hear(d, s->talk[i].hear, chunk);
    }
    assert_outcome(s, d);
    dialogue_destroy(&d);
    assert_null(d);
}

/* The peer closes after each byte of it: never done, never silent about it. */
static inline void play_cut(const struct script *s)
{
    size_t total = 0;
    for (size_t i = 0; i < EXCHANGES_MAX; i++)
        total += s->talk[i].hear.length;
    for (size_t stop = 0; stop < total - s->rest.length; stop++) {
        struct dialogue *d = dialogue_create(&s->order);
        size_t left = stop;
        assert_non_null(d);
        for (size_t i = 0; i < EXCHANGES_MAX && left > 0; i++) {
            struct bytes part = s->talk[i].hear;
            const uint8_t *unused;
            part.length = part.length < left ? part.length : left;
            left -= part.length;
            dialogue_sent(d, dialogue_pending(d, &unused));
            hear(d, part, part.length);
        }
        if (d->state != DIALOGUE_MORE)
            fail_msg("%s: over after %zu of %zu bytes: %s", s->name, stop, total, d->error);
        dialogue_ended(d);
        assert_int_equal(d->state, DIALOGUE_FAILED);
        assert_int_equal(d->fault, DIALOGUE_FAULT_CUT);
        assert_part(s->name, d->error, stop == 0 ? "without a word" : "in the middle");
        dialogue_destroy(&d);
    }
}

static inline void play_all(const struct script *scripts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        play(&scripts[i], SIZE_MAX);
        if (!scripts[i].together) {
            play(&scripts[i], 1);
            play(&scripts[i], 3);
        }
        if (scripts[i].fault == DIALOGUE_FAULT_NONE)
            play_cut(&scripts[i]);
    }
}

#endif
