/* Live sessions after a reload: is their upstream still trusted? */
#include "reverify.h"
#include "session.h"

#include <esclusa/clock.h>
#include <esclusa/log.h>

#include <string.h>

/* A turn of the walk: a verification takes some hundred microseconds, one that is remembered
 * hardly any. */
#define TURN_SESSIONS 64
#define TURN_US       1000

static const struct service *find_service(const struct snapshot *in, const char *name, size_t hint)
{
    if (hint < in->service_count && strcmp(in->services[hint].config->name, name) == 0)
        return &in->services[hint];
    for (size_t i = 0; i < in->service_count; i++)
        if (strcmp(in->services[i].config->name, name) == 0)
            return &in->services[i];
    return NULL;
}

/* The tls:// upstream of that address. */
static const struct upstream *find_upstream(const struct service *in, const struct upstream *like)
{
    if (in == NULL || in->upstream_tls == NULL || like->endpoint.scheme != NET_TLS)
        return NULL;
    for (size_t i = 0; i < in->upstream_count; i++)
        if (strcmp(in->upstreams[i].text, like->text) == 0)
            return &in->upstreams[i];
    return NULL;
}

/* ---- sessions to resume ---- */

static void hand_on(const struct snapshot *before, const struct snapshot *now, unsigned worker)
{
    for (size_t i = 0; i < before->service_count; i++) {
        const struct service *old = &before->services[i];
        if (old->upstream_tls == NULL)
            continue;
        const struct service *new = find_service(now, old->config->name, i);
        for (size_t k = 0; k < old->upstream_count; k++) {
            const struct upstream *up = find_upstream(new, &old->upstreams[k]);
            if (up != NULL)
                tls_profile_inherit(new->upstream_tls, &up->peer, old->upstream_tls,
                                    &old->upstreams[k].peer, worker);
        }
        tls_profile_retire(old->upstream_tls, worker);
    }
}

/* ---- one session ---- */

static void log_given(struct log_line *line, const char *key, const char *value)
{
    if (value[0] != '\0')
        log_text(line, key, value);
}

static void log_distrusted(const struct session *s, const struct tls_failure *f)
{
    struct log_line line;
    log_begin(&line, LOG_LEVEL_WARN, "upstream_distrusted");
    log_number(&line, "id", (int64_t)s->id);
    log_text(&line, "service", s->service->config->name);
    log_text(&line, "upstream", s->upstream->text);
    log_text(&line, "error", f->reason);
    log_given(&line, "expected", f->expected);
    log_given(&line, "names", f->names);
    log_given(&line, "subject", f->subject);
    log_given(&line, "issuer", f->issuer);
    if (f->depth >= 0)
        log_number(&line, "depth", f->depth);
    log_given(&line, "remedy", f->remedy);
    log_end(&line);
}

/* False: it is closed. */
static bool check(struct reverify *r, struct session *s)
{
    const struct transport *t = s->transport[RELAY_UP];
    if (s->snapshot == r->now || s->upstream == NULL || t == NULL || t->ssl == NULL)
        return true;
    const struct service *service = find_service(r->now, s->service->config->name,
                                                 (size_t)(s->service - s->snapshot->services));
    const struct upstream *up = find_upstream(service, s->upstream);
    struct tls_failure why;
    if (up == NULL) {
        r->orphans++;
        return true;
    }
    if (tls_session_reverify(r->tls, t->ssl, service->upstream_tls, &up->peer, &why))
        return true;
    r->distrusted++;
    if (service->config->on_revoked == REVOKED_LOG) {
        log_distrusted(s, &why);
        return true;
    }
    session_fail(s, REASON_UPSTREAM_DISTRUSTED, why.remedy, "%s%s%s%s%s", why.reason,
                 why.subject[0] != '\0' ? ": " : "", why.subject,
                 why.expected[0] != '\0' ? "; expected " : "", why.expected);
    return false;
}

/* ---- the walk ---- */

static void end_walk(struct reverify *r)
{
    tls_reverify_destroy(&r->tls);
    if (r->distrusted == 0 && r->orphans == 0)
        return;
    struct log_line line;
    log_begin(&line, LOG_LEVEL_INFO, "reverified");
    log_number(&line, "worker", r->worker->index);
    log_number(&line, "distrusted", r->distrusted);
    log_number(&line, "without_upstream", r->orphans);
    log_end(&line);
}

static void walk(void *context)
{
    struct reverify *r = context;
    struct loop *loop = r->worker->loop;
    int64_t until_us = clock_us() + TURN_US;
    for (int done = 0; r->next != NULL; done++) {
        bool turn_over = done >= TURN_SESSIONS || (done > 0 && clock_us() >= until_us);
        if (turn_over && timer_set(loop, &r->turn, loop_now(loop)))
            return; /* no memory for a timer: all at once */
        struct session *s = r->next;
        r->next = s->next;
        if (s->state == SESSION_RELAY)
            (void)check(r, s);
    }
    end_walk(r);
}

void reverify_begin(struct reverify *r, const struct snapshot *before, struct snapshot *now)
{
    if (before == now)
        return;
    hand_on(before, now, r->worker->index);
    /* Verdicts are by the profiles of one snapshot. */
    tls_reverify_destroy(&r->tls);
    snapshot_unref(&r->now);
    r->now = snapshot_ref(now);
    r->tls = tls_reverify_create();
    r->next = r->worker->sessions;
    r->distrusted = r->orphans = 0;
    timer_clear(r->worker->loop, &r->turn);
    walk(r);
}

void reverify_forget(struct reverify *r, const struct session *s)
{
    if (r->next == s)
        r->next = s->next;
}

bool reverify_late(struct session *s)
{
    struct reverify *r = &s->worker->reverify;
    if (r->now == NULL || s->snapshot == r->now)
        return true;
    bool walking = r->tls != NULL;
    if (!walking)
        r->tls = tls_reverify_create();
    bool good = check(r, s);
    if (!walking)
        tls_reverify_destroy(&r->tls);
    return good;
}

void reverify_init(struct reverify *r, struct worker *w)
{
    *r = (struct reverify){.worker = w};
    timer_init(&r->turn, walk, r);
}

void reverify_fini(struct reverify *r)
{
    if (r->worker == NULL)
        return;
    timer_clear(r->worker->loop, &r->turn);
    tls_reverify_destroy(&r->tls);
    snapshot_unref(&r->now);
    r->next = NULL;
}
