#include "cache.h"

#include <stdlib.h>

bool cache_is_usable(const struct cached *c, int64_t now_ms, int64_t stale_max_ms)
{
    return c->good != NULL && now_ms - c->fresh_ms < stale_max_ms;
}

struct cache_verdict cache_judge(const struct cached *c, int64_t now_ms, int64_t stale_max_ms)
{
    const bool failed_now = c->failed != RESOLVE_OK && now_ms < c->failed_ms;
    if (c->good != NULL && now_ms < c->fresh_ms)
        return (struct cache_verdict){.now = CACHE_SERVE,
                                      .look_up = now_ms >= c->renew_ms && !failed_now};
    if (cache_is_usable(c, now_ms, stale_max_ms)) {
        /* Where the last lookup failed the next one may, too: nobody waits for it. */
        const bool failing = c->failed != RESOLVE_OK;
        return (struct cache_verdict){
            .now = failing ? CACHE_SERVE : CACHE_WAIT, .look_up = !failed_now, .stale = true};
    }
    if (failed_now)
        return (struct cache_verdict){.now = CACHE_FAIL};
    return (struct cache_verdict){.now = CACHE_WAIT, .look_up = true};
}

void cache_take(struct cached *c, struct answer *answer, int64_t now_ms)
{
    int64_t fresh = answer->ttl_ms;
    if (fresh < CACHE_FRESH_MIN_MS)
        fresh = CACHE_FRESH_MIN_MS;
    if (fresh > CACHE_FRESH_MAX_MS)
        fresh = CACHE_FRESH_MAX_MS;
    free(c->good);
    c->good = answer;
    c->good_ms = now_ms;
    c->fresh_ms = now_ms + fresh;
    c->renew_ms = c->fresh_ms - fresh / 5;
    c->failed = RESOLVE_OK;
}

void cache_failed(struct cached *c, enum resolve_reason reason, int64_t now_ms)
{
    c->failed = reason;
    c->failed_ms = now_ms + CACHE_FAILED_MS;
}

void cache_doubt(struct cached *c, int64_t now_ms)
{
    if (c->fresh_ms > now_ms)
        c->fresh_ms = now_ms;
    c->failed = RESOLVE_OK;
}

void cache_fini(struct cached *c)
{
    free(c->good);
    c->good = NULL;
}
