/* cache: what is kept of a name, and what its age means. Numbers and times, no clock, no thread.
 * Private to policy.
 *
 * - An answer is fresh for its TTL, but at least 5 s and at most 60 s. In the last fifth of that a
 *   question is answered from it and renews it in the background.
 * - After that a question waits for a lookup; while an older answer is there, not longer than half
 *   a second. A lookup that fails, or says that there is nothing, leaves the older answer in
 *   service for stale_max (RFC 8767), and it is looked up again in the background.
 * - A failure is believed for two seconds: within them the name is not looked up again, and where
 *   there is no older answer, questions are answered by it. */
#ifndef ESCLUSA_SRC_CACHE_H
#define ESCLUSA_SRC_CACHE_H

#include "answer.h"

#define CACHE_FRESH_MIN_MS 5000
#define CACHE_FRESH_MAX_MS 60000
#define CACHE_FAILED_MS    2000
#define CACHE_PATIENCE_MS  500

/* Zero before the first use. */
struct cached {
    struct answer *good;        /* NULL: there never was one */
    int64_t good_ms;            /* when it came */
    int64_t renew_ms;           /* from when a question renews it */
    int64_t fresh_ms;           /* until when it is fresh */
    enum resolve_reason failed; /* the last lookup; RESOLVE_OK: it was good */
    int64_t failed_ms;          /* until when that is believed */
};

enum cache_do { CACHE_WAIT, CACHE_SERVE, CACHE_FAIL };
struct cache_verdict {
    enum cache_do now;
    bool look_up;
    bool stale; /* CACHE_SERVE: from an old answer. CACHE_WAIT: one is there, so not for long. */
};
struct cache_verdict cache_judge(const struct cached *c, int64_t now_ms, int64_t stale_max_ms);
/* There is an answer that may be used, fresh or not. */
bool cache_is_usable(const struct cached *c, int64_t now_ms, int64_t stale_max_ms);
/* Takes over an answer whose reason is RESOLVE_OK. */
void cache_take(struct cached *c, struct answer *answer, int64_t now_ms);
void cache_failed(struct cached *c, enum resolve_reason reason, int64_t now_ms);
/* Whom we ask has changed: what is kept is to be looked up again. */
void cache_doubt(struct cached *c, int64_t now_ms);
void cache_fini(struct cached *c);

#endif
