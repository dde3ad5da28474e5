#include "gate.h"
#include "rate.h"

#define TELL_EVERY_MS 10000

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
        [GATE_HANDSHAKES] = "max_handshakes",
        [GATE_SERVICE_HANDSHAKES] = "max_service_handshakes",
        [GATE_FILES] = "open_files",
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
    case GATE_HANDSHAKES:
        return s->config.max_handshakes;
    case GATE_SERVICE_HANDSHAKES:
        return service->config->max_service_handshakes;
    case GATE_NONE:
    case GATE_FILES:
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

void gate_refund(struct gate *g, const struct service_config *c)
{
    if (c->accept_rate > 0)
        rate_refund(&g->due_us, c->accept_rate);
}

enum gate_limit gate_enter(struct gate *g, const struct service_config *c, int64_t now_us,
                           int64_t *wait_us_r)
{
    if (!count_to(&g->inside, c->max_service_connections))
        return GATE_SERVICE;
    if (c->accept_rate == 0 || rate_take(&g->due_us, c->accept_rate, now_us, wait_us_r))
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

void gate_count_over(struct gate *g, enum gate_limit limit)
{
    atomic_fetch_add(&g->over[limit], 1);
    atomic_fetch_add(&g->told, 1);
}

bool gate_over(struct gate *g, enum gate_limit limit, int64_t now_ms, uint64_t *since_r)
{
    atomic_fetch_add(&g->over[limit], 1);
    if (!rate_once(&g->told_ms, TELL_EVERY_MS, now_ms))
        return false; /* or another worker tells it */
    uint64_t all = 0;
    for (int i = 0; i < GATE_LIMITS; i++)
        all += atomic_load(&g->over[i]);
    *since_r = all - atomic_exchange(&g->told, all);
    return true;
}
