/* reverify: after a reload, live sessions with TLS upstreams are verified anew by what the service
 * of the same name now demands: anchors, revocation lists, pins and names, for the upstream of the
 * same address. Each worker walks its own sessions, a few at a time, so that the relays go on.
 * A session whose service or upstream is gone has nothing to be verified by and lives on.
 *
 * Private to core. On the worker's thread. */
#ifndef ESCLUSA_CORE_REVERIFY_H
#define ESCLUSA_CORE_REVERIFY_H

#include <esclusa/config.h>
#include <esclusa/event.h>

struct session;
struct worker;

struct reverify {
    struct worker *worker;
    struct snapshot *now;     /* the newest that came by a reload; a reference; NULL: none yet */
    struct session *next;     /* where the walk goes on; NULL: at its end */
    struct tls_reverify *tls; /* while walking */
    struct timer turn;
    unsigned distrusted, orphans; /* of this walk */
};

void reverify_init(struct reverify *r, struct worker *w);
/* Before the loop is destroyed. */
void reverify_fini(struct reverify *r);
/* The worker accepts by now, and did by before: begins a walk; one under way begins anew. Sessions
 * to resume go over to now where they may. */
void reverify_begin(struct reverify *r, const struct snapshot *before, struct snapshot *now);
/* The session leaves the worker's list. */
void reverify_forget(struct reverify *r, const struct session *s);
/* A session that began by an older configuration has verified its upstream only now. False: that is
 * not trusted any more, and the session is closed. */
bool reverify_late(struct session *s) WARN_UNUSED;

#endif
