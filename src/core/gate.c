#include "gate.h"

#define TELL_EVERY_MS 10000
#define SECOND_US     INT64_C(1000000)

void gate_init(struct gate *g)
{
    *g = (struct gate){.inside = 0};
    crowd_init(&g->crowd);
}

void gate_fini(struct gate *g)
{
    crowd_fini(&g->crowd);
}

const char *gate_word(enum gate_limit limit)
{
    static const char *const words[GATE_LIMITS] = {
        [GATE_NONE] = "",
        [GATE_PROCESS] = "max_connections",
        [GATE_SERVICE] = "max_service_connections",
        [GATE_CONSUMER] = "max_consumer_connections",
        [GATE_RATE] = "accept_rate",
    };
    return words[limit];
}

int64_t gate_set_to(enum gate_limit limit, const struct snapshot *s, const struct service *service)
{
    switch (limit) {
    case GATE_PROCESS:
        return s->config.max_connections;
    case GATE_SERVICE:
        return service->config->max_service_connections;
    case GATE_CONSUMER:
        return service->config->max_consumer_connections;
    case GATE_RATE:
        return service->config->accept_rate;
    case GATE_NONE:
    case GATE_LIMITS:
        break;
    }
    return 0;
}

/* ---- how many ---- */

static bool count_to(atomic_uint *count, int64_t most)
{
    if (atomic_fetch_add(count, 1) < most || most == 0)
        return true;
    atomic_fetch_sub(count, 1);
    return false;
}

void gate_push(struct gate *g)
{
    atomic_fetch_add(&g->inside, 1);
}

void gate_leave(struct gate *g)
{
    atomic_fetch_sub(&g->inside, 1);
}

bool gate_handshake(struct gate *g, const struct service_config *c)
{
    return count_to(&g->handshakes, c == NULL ? 0 : c->max_service_handshakes);
}

void gate_handshake_over(struct gate *g)
{
    atomic_fetch_sub(&g->handshakes, 1);
}

/* ---- how fast ---- */

/* The leaky bucket as a meter (ITU-T I.371, the generic cell rate algorithm): one word that says
 * when the next is due were they evenly spaced. A second's worth of them may come at once. */
static bool in_time(struct gate *g, int64_t rate, int64_t now_us, int64_t *wait_us_r)
{
    const int64_t each_us = SECOND_US / rate;
    int_fast64_t due = atomic_load(&g->due_us);
    int64_t next;
    do {
        const int64_t from = due > now_us ? due : now_us;
        next = from + each_us;
        if (next - now_us > SECOND_US) {
            *wait_us_r = next - now_us - SECOND_US;
            return false;
        }
    } while (!atomic_compare_exchange_weak(&g->due_us, &due, next));
    return true;
}

void gate_refund(struct gate *g, const struct service_config *c)
{
    if (c->accept_rate > 0)
        atomic_fetch_sub(&g->due_us, SECOND_US / c->accept_rate);
}

enum gate_limit gate_enter(struct gate *g, const struct service_config *c, int64_t now_us,
                           int64_t *wait_us_r)
{
    if (!count_to(&g->inside, c->max_service_connections))
        return GATE_SERVICE;
    if (c->accept_rate == 0 || in_time(g, c->accept_rate, now_us, wait_us_r))
        return GATE_NONE;
    gate_leave(g);
    return GATE_RATE;
}

/* ---- from where ---- */

bool gate_admit(struct gate *g, const struct service_config *c, const struct net_addr *from)
{
    return c->max_consumer_connections == 0 ||
           crowd_enter(&g->crowd, from, (unsigned)c->max_consumer_connections);
}

void gate_dismiss(struct gate *g, const struct service_config *c, const struct net_addr *from)
{
    if (c->max_consumer_connections != 0)
        crowd_leave(&g->crowd, from);
}

/* ---- what is told ---- */

bool gate_over(struct gate *g, enum gate_limit limit, int64_t now_ms, uint64_t *since_r)
{
    atomic_fetch_add(&g->over[limit], 1);
    int_fast64_t told = atomic_load(&g->told_ms);
    if ((told != 0 && now_ms - told < TELL_EVERY_MS) ||
        !atomic_compare_exchange_strong(&g->told_ms, &told, now_ms))
        return false; /* or another worker tells it */
    uint64_t all = 0;
    for (int i = 0; i < GATE_LIMITS; i++)
        all += atomic_load(&g->over[i]);
    *since_r = all - atomic_exchange(&g->told, all);
    return true;
}
