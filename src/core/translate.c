#include "translate.h"

#include <stdlib.h>
#include <string.h>

struct translate {
    struct relay *relay;
    struct opening opening;
    struct offer offer;
    struct mysql_shift consumer, server;
};

/* Takes the first of the bytes out and puts what was held in front of the rest. */
static size_t put_before(uint8_t *bytes, size_t length, size_t take, const uint8_t *held,
                         size_t held_length)
{
    memmove(bytes + held_length, bytes + take, length - take);
    memcpy(bytes, held, held_length);
    return held_length + length - take;
}

/* ---- PostgreSQL ---- */

static size_t open_up(void *context, uint8_t *bytes, size_t length, bool end, bool *over_r)
{
    struct translate *t = context;
    struct opening *o = &t->opening;
    size_t take = 0;
    unsigned answers = 0;
    *over_r = opening_feed(o, bytes, length, &take, &answers) || end;
    for (; answers > 0; answers--) {
        if (!relay_insert(t->relay, RELAY_UP, "N", 1))
            *over_r = true; /* no memory: the server will not like what comes, and say so */
    }
    return *over_r ? put_before(bytes, length, take, o->held, o->length) : 0;
}

static size_t offer(void *context, uint8_t *bytes, size_t length, bool end, bool *over_r)
{
    struct translate *t = context;
    size_t take = 0;
    *over_r = offer_feed(&t->offer, bytes, length, &take) || end;
    return *over_r ? put_before(bytes, length, take, t->offer.held, t->offer.length) : 0;
}

/* ---- MySQL ---- */

static size_t shift_consumer(void *context, uint8_t *bytes, size_t length, bool end, bool *over_r)
{
    struct translate *t = context;
    (void)end;
    mysql_shift_consumer(&t->consumer, bytes, length);
    *over_r = t->consumer.over;
    return length;
}

static size_t shift_server(void *context, uint8_t *bytes, size_t length, bool end, bool *over_r)
{
    struct translate *t = context;
    (void)end;
    mysql_shift_server(&t->server, bytes, length);
    *over_r = t->server.over;
    return length;
}

/* ---- life ---- */

bool translate_begin(struct translate **t_r, enum dialogue_protocol protocol, struct relay *relay,
                     struct buf *held)
{
    *t_r = NULL;
    if (protocol != DIALOGUE_POSTGRES && protocol != DIALOGUE_MYSQL)
        return true;
    struct translate *t = calloc(1, sizeof *t);
    if (t == NULL)
        return false;
    t->relay = relay;
    if (protocol == DIALOGUE_POSTGRES) {
        relay_filter(relay, RELAY_DOWN, open_up, t);
        relay_filter(relay, RELAY_UP, offer, t);
    } else {
        if (held != NULL && !buf_empty(held)) {
            mysql_shift_consumer(&t->consumer, held->data + held->start, buf_length(held));
            relay_preload(relay, RELAY_DOWN, held);
        }
        relay_filter(relay, RELAY_DOWN, shift_consumer, t);
        relay_filter(relay, RELAY_UP, shift_server, t);
    }
    *t_r = t;
    return true;
}

void translate_end(struct translate **t)
{
    free(*t);
    *t = NULL;
}
