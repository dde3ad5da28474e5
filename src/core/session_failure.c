/* What is kept of a session that failed. */
#include "failures.h"
#include "session.h"

#include <esclusa/clock.h>
#include <esclusa/str.h>

static void put_address(char *dst, size_t size, const struct net_addr *a)
{
    if (a->length > 0)
        net_addr_format(a, dst, size);
}

static void fill(struct failure_note *n, const void *what)
{
    const struct session *s = what;
    const struct tls_failure *f = session_tls_failure(s);
    n->id = s->id;
    n->wall_us = clock_wall_us();
    n->phase = s->failure != NULL ? s->failure->phase : session_phase(s);
    n->reason = s->reason;
    n->alert = f != NULL ? f->alert : -1;
    n->depth = f != NULL ? f->depth : -1;
    n->attempts = s->attempts;
    n->duration_us = clock_us() - s->began_us;
    n->bytes_up = s->relaying ? s->relay.from[RELAY_DOWN].bytes : 0;
    n->bytes_down = s->relaying ? s->relay.from[RELAY_UP].bytes : 0;
    (void)str_copy(n->service, sizeof n->service, s->service->config->name);
    (void)str_copy(n->listen, sizeof n->listen, s->at->text);
    put_address(n->consumer, sizeof n->consumer, &s->consumer);
    if (s->proxied != NULL)
        put_address(n->peer, sizeof n->peer, &s->proxied->peer);
    if (s->upstream != NULL)
        (void)str_copy(n->upstream, sizeof n->upstream, s->upstream->text);
    put_address(n->address, sizeof n->address, &s->upstream_address);
    if (s->failure != NULL) {
        (void)str_copy(n->error, sizeof n->error, s->failure->error);
        (void)str_copy(n->remedy, sizeof n->remedy, s->failure->remedy);
    }
    if (f == NULL)
        return;
    (void)str_copy(n->expected, sizeof n->expected, f->expected);
    (void)str_copy(n->names, sizeof n->names, f->names);
    (void)str_copy(n->subject, sizeof n->subject, f->subject);
    (void)str_copy(n->issuer, sizeof n->issuer, f->issuer);
    (void)str_copy(n->chain, sizeof n->chain, f->chain);
}

void session_note_failure(const struct session *s)
{
    if (reason_level(s->reason) <= LOG_LEVEL_WARN)
        failures_add(s->worker->group->failures, fill, s);
}
