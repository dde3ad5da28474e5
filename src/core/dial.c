/* Candidate after candidate, until one is connected and verified. */
#include "dial.h"

#include "eyeballs.h"
#include "stats.h"

#include <esclusa/str.h>

#include <stdlib.h>
#include <string.h>

static void choose(struct dial *d);
static void race(struct dial *d);

/* After each call that may end the dial nothing of it is touched: it may be gone. */

static const struct service_config *config_of(const struct dial *d)
{
    return d->order.service->config;
}

static int64_t now_of(const struct dial *d)
{
    return loop_now(d->order.worker->loop);
}

/* ---- how the candidate did ---- */

/* Once a candidate. A check is no consumer's: it keeps its own count, and what a mere connection
 * shows does not make up for handshakes that failed. */
static void judge(struct dial *d, enum attempt_outcome outcome, enum reason reason,
                  const char *error)
{
    if (!d->trying)
        return;
    const struct candidate_try *t = &d->try;
    const bool check = d->order.only != NULL;
    d->trying = false;
    d->outcome = outcome;
    d->try.now_ms = now_of(d);
    if (outcome == ATTEMPT_GOOD && !d->order.connect_only)
        candidate_answered(t, REASON_NONE);
    else if (outcome == ATTEMPT_WRONG && !check)
        candidate_answered(t, reason);
    else if (outcome == ATTEMPT_UNANSWERED && !check)
        candidate_missed(t, reason, error);
    else
        candidate_undecided(t, check ? REASON_NONE : reason);
}

static void undecided(struct dial *d)
{
    judge(d, ATTEMPT_OURS, REASON_NONE, "");
}

/* ---- the end ---- */

static void end(struct dial *d, enum reason reason, const char *error, const char *remedy)
{
    timer_clear(d->order.worker->loop, &d->timer);
    d->is_over = true;
    d->reason = reason;
    if (d->order.only == NULL)
        stats_service_tried(d->order.service->stats, reason);
    d->remedy = remedy;
    (void)str_copy(d->error, sizeof d->error, error);
    d->order.over(d->order.context);
}

static void no_memory(struct dial *d, const char *what)
{
    undecided(d);
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

/* error: of the candidate's last failure, for the log. */
static void next_candidate(struct dial *d, const char *error)
{
    enum attempt_outcome outcome = d->missed ? ATTEMPT_UNANSWERED : ATTEMPT_OURS;
    judge(d, d->wrong ? ATTEMPT_WRONG : outcome, d->candidate_reason, error);
    candidate_leave(&d->counted);
    d->candidate++;
    choose(d);
}

static void exhausted(struct dial *d)
{
    d->exhausted = true;
    end(d, d->first_reason, d->first_error,
        d->first_remedy != NULL ? d->first_remedy : remedy_of(d->first_reason));
}

/* ---- choose ---- */

static void arrange(struct dial *d)
{
    const struct service *service = d->order.service;
    struct candidates *c = &d->candidates;
    if (d->order.only != NULL || service->upstream_count == 1) {
        c->order[0] = d->order.only == NULL ? 0 : (uint8_t)(d->order.only - service->upstreams);
        c->count = 1;
        c->usable = 0; /* asked in any case */
        return;
    }
    candidates_order(c, d->order.worker, service, d->order.source);
}

/* One that was ejected since they were arranged has its turn behind all others. */
static void put_off(struct candidates *c, size_t at)
{
    const uint8_t moved = c->order[at];
    memmove(&c->order[at], &c->order[at + 1], c->count - at - 1);
    c->order[c->count - 1] = moved;
    c->usable--;
}

/* NULL: none is left. */
static const struct upstream *next_upstream(struct dial *d)
{
    struct candidates *c = &d->candidates;
    const struct upstream *all = d->order.service->upstreams;
    d->try.trying = false;
    while (d->candidate < c->usable &&
           !candidate_may_try(&all[c->order[d->candidate]], now_of(d), &d->try.trying))
        put_off(c, d->candidate);
    return d->candidate < c->count ? &all[c->order[d->candidate]] : NULL;
}

static bool is_last(const struct dial *d)
{
    return d->candidate + 1 >= d->candidates.count;
}

/* ---- resolve ---- */

static void resolved(struct resolve_query *query)
{
    struct dial *d = query->context;
    d->asking = false;
    if (!query->ok) {
        remember(d, REASON_RESOLVE_FAILED, query->error.text, NULL);
        d->missed = true;
        next_candidate(d, query->error.text);
        return;
    }
    memcpy(d->race.addresses, query->addresses, query->count * sizeof query->addresses[0]);
    d->race.count = query->count;
    if (d->upstream->stats != NULL)
        eyeballs_order(d->race.addresses, query->targets, query->count,
                       atomic_load(&d->upstream->stats->last_good));
    race(d);
}

/* Whom to connect to: a proxy looks up the upstream's name. */
static const struct net_endpoint *place_of(const struct dial *d)
{
    const struct proxy *proxy = d->order.service->proxy;
    return proxy != NULL ? &proxy->at.endpoint : &d->upstream->endpoint;
}

static void begin_try(struct dial *d)
{
    d->try.service = d->order.service;
    d->try.upstream = d->upstream;
    d->try.began_ms = now_of(d);
    d->trying = true;
    d->missed = d->wrong = false;
    d->candidate_deadline_ms = now_of(d) + config_of(d)->connect_timeout;
    if (d->order.only == NULL) {
        d->counted = d->upstream->stats;
        candidate_enter(d->counted);
    }
}

static void choose(struct dial *d)
{
    struct worker *w = d->order.worker;
    const struct upstream *next = next_upstream(d);
    if (next == NULL) { /* the phase stays that of the last */
        exhausted(d);
        return;
    }
    enter(d, DIAL_CHOOSE);
    d->upstream = next;
    begin_try(d);
    const struct net_endpoint *to = place_of(d);
    d->race.count = 1;
    if (to->scheme == NET_UNIX) {
        net_addr_from_path(&d->race.addresses[0], to->path);
        race(d);
        return;
    }
    if (net_addr_from_literal(&d->race.addresses[0], to->host, to->port)) {
        race(d);
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
    d->missed = true;
    next_candidate(d, text);
}

/* ---- race ---- */

static void began(void *context)
{
    struct dial *d = context;
    d->attempts++;
}

static const enum dial_phase phase_after[] = {[ATTEMPT_CONNECT] = DIAL_CONNECT,
                                              [ATTEMPT_PRELUDE] = DIAL_PRELUDE,
                                              [ATTEMPT_HANDSHAKE] = DIAL_HANDSHAKE};

static void connected(void *context, struct attempt *a)
{
    struct dial *d = context;
    d->address = a->order.address;
    d->connect_us = a->connect_us;
    d->prelude_phase = a->prelude_phase;
    enter(d, phase_after[a->stage]);
}

/* The consumer hears this server, and may hear no other. */
static void ask(void *context, struct attempt *a)
{
    struct dial *d = context;
    d->order.ask(d->order.context, &a->early);
}

/* One that outlives the attempt. */
static const char *static_remedy(const struct attempt *a)
{
    const struct transport *t = a->prelude == NULL ? NULL : a->prelude->transport;
    return t != NULL && t->failure == NULL ? a->remedy : NULL;
}

static void unanswered(void *context, const struct attempt *a)
{
    struct dial *d = context;
    char where[NET_TEXT_MAX];
    d->address = a->order.address;
    net_addr_format(&a->order.address, where, sizeof where);
    snprintf(d->last_error, sizeof d->last_error, "%s: %s", where, a->error);
    remember(d, a->reason, d->last_error, a->stage == ATTEMPT_PRELUDE ? static_remedy(a) : NULL);
    d->missed = d->missed || (a->outcome == ATTEMPT_UNANSWERED && !a->blameless);
}

/* Wrong in a way that failover_on_verify passes over. */
static bool may_pass(void *context, const struct attempt *a)
{
    struct dial *d = context;
    if (!config_of(d)->failover_on_verify ||
        (a->reason != REASON_UPSTREAM_VERIFY_FAILED && a->reason != REASON_UPSTREAM_REVOKED))
        return false;
    if (is_last(d) && d->race.next >= d->race.count && d->race.lanes == 1)
        return false; /* there is nobody to go on to */
    candidate_alarm(d->order.service, d->upstream, &a->order.address, a->reason, a->error,
                    a->remedy);
    d->wrong = true;
    return true;
}

/* The dial ends with what came of this attempt. */
static void settled(void *context, struct attempt *a)
{
    struct dial *d = context;
    d->phase = phase_after[a->stage];
    d->prelude_phase = a->prelude_phase;
    d->address = a->order.address;
    d->connect_us = a->connect_us;
    d->handshake_us = a->handshake_us;
    d->transport = a->transport;
    a->transport = NULL;
    d->early = a->early;
    d->held = a->held;
    buf_init(&a->early);
    buf_init(&a->held);
    judge(d, a->outcome, a->reason, a->error);
    if (a->outcome != ATTEMPT_GOOD) {
        end(d, a->reason, a->error, a->remedy);
        return;
    }
    if (d->upstream->stats != NULL &&
        !d->order.connect_only) /* taking a connection is too little */
        atomic_store(&d->upstream->stats->last_good, eyeballs_mark(&d->address));
    end(d, REASON_NONE, "", NULL);
}

static void lost(void *context)
{
    struct dial *d = context;
    next_candidate(d, d->last_error);
}

static void race_no_memory(void *context)
{
    no_memory(context, "no memory for a connection attempt");
}

static void race(struct dial *d)
{
    const struct service_config *c = config_of(d);
    const struct race_order order = {.worker = d->order.worker,
                                     .service = d->order.service,
                                     .upstream = d->upstream,
                                     .hello = &d->hello,
                                     .verified = c->race == RACE_TLS,
                                     .connect_only = d->order.connect_only,
                                     .last = is_last(d),
                                     .delay_ms = c->race_delay,
                                     .until_ms = d->candidate_deadline_ms,
                                     .io = d->order.io,
                                     .on_io = d->order.on_io,
                                     .io_context = d->order.context,
                                     .began = began,
                                     .connected = connected,
                                     .unanswered = unanswered,
                                     .ask = d->order.ask == NULL ? NULL : ask,
                                     .may_pass = may_pass,
                                     .settled = settled,
                                     .lost = lost,
                                     .no_memory = race_no_memory,
                                     .context = d};
    enter(d, DIAL_CONNECT);
    d->address = d->race.addresses[0];
    race_start(&d->race, &order);
}

/* ---- dispatch ---- */

void dial_event(struct dial *d, unsigned events)
{
    if (!d->is_over)
        race_event(&d->race, events);
}

bool dial_wants_consumer(const struct dial *d)
{
    return !d->is_over && race_wants_consumer(&d->race);
}

void dial_consumer(struct dial *d, const void *bytes, size_t length)
{
    if (dial_wants_consumer(d))
        race_consumer(&d->race, bytes, length);
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
    arrange(d);
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
    undecided(d);
    race_fini(&d->race, d->order.worker->loop);
    candidate_leave(&d->counted);
    if (d->transport != NULL)
        loop_io_remove(d->order.io);
    transport_destroy(&d->transport);
    buf_fini(&d->early);
    buf_fini(&d->held);
    buf_fini(&d->hello);
    free(d);
}
