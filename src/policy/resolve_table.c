/* The names of which something is kept, by name. */
#include "resolve_internal.h"
#include "resolve_state.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FORGET_AFTER_MS 600000 /* a name that nobody has asked for, at the least */

void entry_unref(struct entry *e)
{
    if (--e->users > 0)
        return;
    cache_fini(&e->cached);
    free(e);
}

void entry_drop(struct resolver *r, struct entry_list *bucket, struct entry *e)
{
    TAILQ_REMOVE(bucket, e, in_bucket);
    r->counts.names--;
    entry_unref(e);
}

/* DNS names are equal whatever the case: RFC 4343. FNV-1a. */
static struct entry_list *bucket_of(struct resolver *r, const char *host)
{
    uint32_t hash = 2166136261U;
    for (; *host != '\0'; host++)
        hash = (hash ^ ((unsigned char)*host | 0x20U)) * 16777619U;
    return &r->buckets[hash % RESOLVE_BUCKETS];
}

struct entry *entry_find(struct resolver *r, const char *host, bool srv)
{
    struct entry *e = NULL;
    TAILQ_FOREACH(e, bucket_of(r, host), in_bucket)
    {
        if (e->srv == srv && strcasecmp(e->host, host) == 0)
            return e;
    }
    return NULL;
}

static bool is_idle(const struct entry *e)
{
    return !e->looking_up && e->users == 1;
}

/* What nobody asks for any more; were there too many names, also the one asked for the longest ago.
 */
static void forget_old(struct resolver *r, int64_t now)
{
    int64_t keep =
        r->settings.stale_max_ms > FORGET_AFTER_MS ? r->settings.stale_max_ms : FORGET_AFTER_MS;
    struct entry *oldest = NULL;
    for (size_t i = 0; i < RESOLVE_BUCKETS; i++) {
        struct entry *next = NULL;
        for (struct entry *e = TAILQ_FIRST(&r->buckets[i]); e != NULL; e = next) {
            next = TAILQ_NEXT(e, in_bucket);
            if (!is_idle(e))
                continue;
            if (now - e->asked_ms > keep)
                entry_drop(r, &r->buckets[i], e);
            else if (oldest == NULL || e->asked_ms < oldest->asked_ms)
                oldest = e;
        }
    }
    if (r->counts.names >= RESOLVE_NAMES_MAX && oldest != NULL)
        entry_drop(r, bucket_of(r, oldest->host), oldest);
}

struct entry *entry_add(struct resolver *r, const char *host, bool srv, int64_t now)
{
    size_t length = strlen(host) + 1;
    struct entry *e = calloc(1, sizeof *e + length);
    if (e == NULL)
        return NULL;
    memcpy(e->host, host, length);
    e->resolver = r;
    e->srv = srv;
    e->users = 1;
    resolve_thread_adopt(e);
    TAILQ_INIT(&e->waiting);
    forget_old(r, now);
    TAILQ_INSERT_TAIL(bucket_of(r, host), e, in_bucket);
    r->counts.names++;
    return e;
}

const char *entry_words(const struct entry *e)
{
    switch (e->cached.failed) {
    case RESOLVE_NO_NAME:
        return e->srv ? "no such SRV record (NXDOMAIN)" : "no such name (NXDOMAIN)";
    case RESOLVE_EMPTY:
        return e->srv ? "the name has no SRV record" : "the name has no address";
    case RESOLVE_NOT_OFFERED:
        return "the SRV record says that the service is not offered there";
    case RESOLVE_TIMEOUT:
        return "no answer from the DNS servers";
    case RESOLVE_SERVERS:
        return "no DNS server could tell: each failed, refused or could not be reached";
    case RESOLVE_MALFORMED:
        return "the answer of the DNS server is malformed";
    case RESOLVE_OK:
    case RESOLVE_OTHER:
    case RESOLVE_REASON_COUNT:
        break;
    }
    return "could not be looked up";
}
