/* Candidate after candidate, address after address, until one is connected and verified. */
#include "dial.h"

#include "stats.h"

#include <esclusa/str.h>

#include <stdlib.h>
#include <string.h>

#define ADDRESS_SHARE_MIN_MS                                                                       \
    2000 /* no address gets less, however many share the connect timeout                           \
          */

static void choose(struct dial *d);
static void next_address(struct dial *d);

/* After each call that may end the dial nothing of it is touched: it may be gone. */

static const struct service_config *config_of(const struct dial *d)
{
    return d->order.service->config;
}

static int64_t now_of(const struct dial *d)
{
    return loop_now(d->order.worker->loop);
}

/* ---- the end ---- */

static void end(struct dial *d, enum reason reason, const char *error, const char *remedy)
{
    timer_clear(d->order.worker->loop, &d->timer);
    d->is_over = true;
    d->reason = reason;
    if (d->upstream != NULL && !d->exhausted) /* else it has been counted */
        stats_upstream_tried(d->upstream->stats, reason);
    stats_service_tried(d->order.service->stats, reason);
    d->remedy = remedy;
    (void)str_copy(d->error, sizeof d->error, error);
    d->order.over(d->order.context);
}

static void no_memory(struct dial *d, const char *what)
{
    end(d, REASON_NO_MEMORY, what, NULL);
}

/* ---- phases ---- */

static void enter(struct dial *d, enum dial_phase phase)
{
    d->phase = phase;
    timer_clear(d->order.worker->loop, &d->timer);
}

/* False: no memory, and the dial is over. */
static bool deadline(struct dial *d, int64_t at_ms)
{
    if (timer_set(d->order.worker->loop, &d->timer, at_ms))
        return true;
    no_memory(d, "no memory for a timer");
    return false;
}

enum phase dial_phase_of(const struct dial *d)
{
    static const enum phase phases[] = {[DIAL_CHOOSE] = PHASE_CHOOSE,
                                        [DIAL_RESOLVE] = PHASE_RESOLVE,
                                        [DIAL_CONNECT] = PHASE_CONNECT,
                                        [DIAL_HANDSHAKE] = PHASE_UPSTREAM_HANDSHAKE};
    return d->phase == DIAL_PRELUDE ? d->prelude_phase : phases[d->phase];
}

/* ---- failures that let the next one be tried ---- */

/* remedy: NULL: that of the reason; else static. */
static void remember(struct dial *d, enum reason reason, const char *text, const char *remedy)
{
    d->candidate_reason = reason;
    if (d->first_reason == REASON_NONE) {
        d->first_reason = reason;
        d->first_remedy = remedy;
    }
    size_t length = strlen(d->first_error);
    str_append(d->first_error, sizeof d->first_error, &length, "%s%s", length > 0 ? "; " : "",
               text);
}

static const char *remedy_of(enum reason reason)
{
    switch ((int)reason) {
    case REASON_RESOLVE_FAILED:
        return "check the name in --connect and this machine's resolver";
    case REASON_UPSTREAM_FORBIDDEN:
        return "if it is meant to be reached, add its network to allow_upstreams; if not, find out "
               "who "
               "answers for the name";
    case REASON_CONNECT_FAILED:
        return "check that the upstream listens there, and that routing and firewalls let it "
               "through";
    case REASON_CONNECT_TIMEOUT:
        return "check routing and firewalls, or raise --connect-timeout";
    case REASON_UPSTREAM_HANDSHAKE_TIMEOUT:
        return "the upstream took the connection but said too little: check that this port speaks "
               "TLS, or raise --handshake-timeout";
    default:
        return NULL;
    }
}

static void next_candidate(struct dial *d)
{
    stats_upstream_tried(d->upstream->stats, d->candidate_reason);
    d->candidate++;
    if (d->candidate < d->order.candidates) {
        choose(d);
        return;
    }
    d->exhausted = true;
    end(d, d->first_reason, d->first_error,
        d->first_remedy != NULL ? d->first_remedy : remedy_of(d->first_reason));
}

/* ---- choose and resolve ---- */

static void resolved(struct resolve_query *query)
{
    struct dial *d = query->context;
    d->asking = false;
    if (!query->ok) {
        remember(d, REASON_RESOLVE_FAILED, query->error.text, NULL);
        next_candidate(d);
        return;
    }
    memcpy(d->addresses, query->addresses, query->count * sizeof d->addresses[0]);
    d->address_count = query->count;
    next_address(d);
}

/* Whom to connect to: a proxy looks up the upstream's name. */
static const struct net_endpoint *place_of(const struct dial *d)
{
    const struct proxy *proxy = d->order.service->proxy;
    return proxy != NULL ? &proxy->at.endpoint : &d->upstream->endpoint;
}

static void choose(struct dial *d)
{
    struct worker *w = d->order.worker;
    enter(d, DIAL_CHOOSE);
    d->upstream = &d->order.service->upstreams[d->candidate];
    const struct net_endpoint *to = place_of(d);
    d->candidate_deadline_ms = now_of(d) + config_of(d)->connect_timeout;
    d->address_next = 0;
    d->address_count = 1;
    if (to->scheme == NET_UNIX) {
        net_addr_from_path(&d->addresses[0], to->path);
        next_address(d);
        return;
    }
    if (net_addr_from_literal(&d->addresses[0], to->host, to->port)) {
        next_address(d);
        return;
    }
    enter(d, DIAL_RESOLVE);
    d->query.callback = resolved;
    d->query.context = d;
    d->asking = resolve_ask(w->group->resolver, w->loop, &d->query, to->host, to->port);
    if (!d->asking)
        no_memory(d, "no memory for a name lookup");
    else
        (void)deadline(d, d->candidate_deadline_ms);
}

static void stop_asking(struct dial *d)
{
    if (d->asking)
        resolve_cancel(d->order.worker->group->resolver, &d->query);
    d->asking = false;
}

static void resolve_deadline(struct dial *d)
{
    char after[32], text[NET_HOST_MAX + 96];
    stop_asking(d);
    str_format_duration(after, sizeof after, config_of(d)->connect_timeout);
    snprintf(text, sizeof text, "%s: no answer from the resolver within %s", place_of(d)->host,
             after);
    remember(d, REASON_RESOLVE_TIMEOUT, text, NULL);
    next_candidate(d);
}

/* ---- attempts ---- */

static void drop(struct dial *d, struct attempt *a)
{
    struct attempt **at = &d->running;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    attempt_destroy(&a);
}

static void drop_all(struct dial *d)
{
    while (d->running != NULL)
        drop(d, d->running);
}

static const enum dial_phase phase_after[] = {[ATTEMPT_CONNECT] = DIAL_CONNECT,
                                              [ATTEMPT_PRELUDE] = DIAL_PRELUDE,
                                              [ATTEMPT_HANDSHAKE] = DIAL_HANDSHAKE};

static void connected(void *context, struct attempt *a)
{
    struct dial *d = context;
    d->connect_us = a->connect_us;
    d->prelude_phase = a->prelude_phase;
    enter(d, phase_after[a->stage]);
}

/* The consumer hears this server, and may hear no other. */
static void ask(void *context, struct attempt *a)
{
    struct dial *d = context;
    d->asked = true;
    for (struct attempt *other = d->running, *next; other != NULL; other = next) {
        next = other->next;
        if (other != a)
            drop(d, other);
    }
    d->order.ask(d->order.context, &a->early);
}

/* The dial ends with what came of this attempt. */
static void settle(struct dial *d, struct attempt *a)
{
    d->phase = phase_after[a->stage];
    d->prelude_phase = a->prelude_phase;
    d->address = a->order.address;
    d->connect_us = a->connect_us;
    d->handshake_us = a->handshake_us;
    if (a->transport != NULL && !attempt_settle(a, d->order.io, d->order.on_io, d->order.context)) {
        no_memory(d, "no memory for the upstream connection");
        return;
    }
    d->transport = a->transport;
    a->transport = NULL;
    d->early = a->early;
    d->held = a->held;
    buf_init(&a->early);
    buf_init(&a->held);
    if (a->outcome == ATTEMPT_GOOD)
        end(d, REASON_NONE, "", NULL);
    else
        end(d, a->reason, a->error, a->remedy);
}

static bool is_last(const struct dial *d)
{
    return d->address_next >= d->address_count && d->candidate + 1 >= d->order.candidates;
}

/* One that outlives the attempt. */
static const char *static_remedy(const struct attempt *a)
{
    const struct transport *t = a->prelude == NULL ? NULL : a->prelude->transport;
    return t != NULL && t->failure == NULL ? a->remedy : NULL;
}

static void unanswered(struct dial *d, struct attempt *a)
{
    char where[NET_TEXT_MAX], text[NET_TEXT_MAX + 256];
    net_addr_format(&a->order.address, where, sizeof where);
    snprintf(text, sizeof text, "%s: %s", where, a->error);
    remember(d, a->reason, text, a->stage == ATTEMPT_PRELUDE ? static_remedy(a) : NULL);
    drop(d, a);
}

static void attempt_over(void *context, struct attempt *a)
{
    struct dial *d = context;
    bool cut = a->transport != NULL && a->transport->failure != NULL;
    if (a->outcome == ATTEMPT_UNANSWERED && !(cut && is_last(d)) && !d->asked) {
        unanswered(d, a);
        next_address(d);
    } else {
        settle(d, a);
    }
}

/* NULL: no memory. */
static struct attempt *new_attempt(struct dial *d, int64_t until_ms)
{
    const struct attempt_order order = {.worker = d->order.worker,
                                        .service = d->order.service,
                                        .upstream = d->upstream,
                                        .address = d->address,
                                        .hello = &d->hello,
                                        .connect_until_ms = until_ms,
                                        .io = d->order.io,
                                        .on_io = d->order.on_io,
                                        .io_context = d->order.context,
                                        .connected = connected,
                                        .over = attempt_over,
                                        .ask = d->order.ask == NULL ? NULL : ask,
                                        .context = d};
    struct attempt *a = attempt_create(&order);
    if (a == NULL)
        return NULL;
    a->next = d->running;
    d->running = a;
    d->attempts++;
    return a;
}

/* Each address gets its share of what is left of the candidate's time. */
static int64_t share_of(const struct dial *d)
{
    int64_t now = now_of(d);
    size_t left = d->address_count - d->address_next;
    int64_t share = (d->candidate_deadline_ms - now) / (int64_t)left;
    int64_t until = now + (share < ADDRESS_SHARE_MIN_MS ? ADDRESS_SHARE_MIN_MS : share);
    return until < d->candidate_deadline_ms ? until : d->candidate_deadline_ms;
}

static void next_address(struct dial *d)
{
    while (d->address_next < d->address_count &&
           (d->address_next == 0 || now_of(d) < d->candidate_deadline_ms)) {
        int64_t until_ms = share_of(d);
        d->address = d->addresses[d->address_next++];
        enter(d, DIAL_CONNECT);
        struct attempt *a = new_attempt(d, until_ms);
        if (a == NULL) {
            no_memory(d, "no memory for a connection attempt");
            return;
        }
        if (attempt_start(a))
            return;
        if (a->outcome != ATTEMPT_UNANSWERED) {
            settle(d, a);
            return;
        }
        unanswered(d, a);
    }
    next_candidate(d);
}

/* ---- dispatch ---- */

void dial_event(struct dial *d, unsigned events)
{
    if (d->is_over)
        return;
    for (struct attempt *a = d->running; a != NULL; a = a->next) {
        if (a->io == d->order.io) {
            attempt_event(a, events);
            return;
        }
    }
}

/* The one that asked runs alone. */
bool dial_wants_consumer(const struct dial *d)
{
    return d->asked && !d->is_over && d->running != NULL && attempt_wants_consumer(d->running);
}

void dial_consumer(struct dial *d, const void *bytes, size_t length)
{
    if (dial_wants_consumer(d))
        attempt_consumer(d->running, bytes, length);
}

static void on_timer(void *context)
{
    struct dial *d = context;
    if (d->phase == DIAL_RESOLVE)
        resolve_deadline(d);
}

/* ---- life ---- */

struct dial *dial_create(const struct dial_order *order)
{
    struct dial *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->order = *order;
    d->connect_us = d->handshake_us = -1;
    timer_init(&d->timer, on_timer, d);
    return d;
}

void dial_start(struct dial *d)
{
    choose(d);
}

void dial_destroy(struct dial **dial)
{
    struct dial *d = *dial;
    *dial = NULL;
    if (d == NULL)
        return;
    timer_clear(d->order.worker->loop, &d->timer);
    stop_asking(d);
    drop_all(d);
    if (d->transport != NULL)
        loop_io_remove(d->order.io);
    transport_destroy(&d->transport);
    buf_fini(&d->early);
    buf_fini(&d->held);
    buf_fini(&d->hello);
    free(d);
}
