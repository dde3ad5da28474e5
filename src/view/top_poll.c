#include "top_poll.h"

#include <esclusa/clock.h>
#include <esclusa/str.h>

#include <stdlib.h>
#include <string.h>

/* Where an answer takes as long as the interval. */
#define REST_MS 50

void top_poll_begin(struct top_poll *p, struct fetch *fetch, const char *address,
                    int64_t interval_ms)
{
    memset(p, 0, sizeof *p);
    p->fetch = fetch;
    p->address = address;
    p->interval_ms = interval_ms;
    error_init(&p->trouble);
}

void top_poll_end(struct top_poll *p)
{
    free(p->status);
    top_model_fini(&p->model);
    model_failures_free(&p->failures);
}

void top_poll_failures(struct top_poll *p, bool wanted)
{
    if (wanted && !p->want_failures && p->step == POLL_RESTS) {
        p->only_failures = true;
        p->step = POLL_FAILURES;
        if (!fetch_begin(p->fetch, "/failures", &p->trouble))
            p->step = POLL_RESTS;
    }
    p->want_failures = wanted;
}

static void rest(struct top_poll *p)
{
    free(p->status);
    p->status = NULL;
    p->only_failures = false;
    p->step = POLL_RESTS;
    const int64_t soonest = clock_ms() + REST_MS;
    p->next_ms = p->next_ms > soonest ? p->next_ms : soonest;
}

static void begin(struct top_poll *p, enum poll_step step)
{
    static const char *const paths[] = {
        [POLL_STATUS] = "/status", [POLL_METRICS] = "/metrics", [POLL_FAILURES] = "/failures"};
    struct error why;
    error_init(&why);
    p->step = step;
    if (!fetch_begin(p->fetch, paths[step], &why)) {
        p->trouble = why;
        rest(p);
    }
}

static void take_model(struct top_poll *p, struct error *why)
{
    if (!top_model_take(&p->model, p->status, fetch_body(p->fetch), why))
        return;
    p->answered_ms = clock_ms();
    if (p->model.restarted)
        p->restarted_ms = p->answered_ms;
    error_init(&p->trouble);
    if (p->want_failures)
        begin(p, POLL_FAILURES);
    else
        rest(p);
}

static void take_failures(struct top_poll *p, struct error *why)
{
    struct failures now;
    if (!model_failures(&now, fetch_body(p->fetch), why))
        return;
    model_failures_free(&p->failures);
    p->failures = now;
    p->failures_known = true;
    rest(p);
}

/* An answer is here. */
static void take(struct top_poll *p, struct error *why)
{
    if (fetch_refused(p->fetch, p->address, why))
        return;
    switch (p->step) {
    case POLL_STATUS:
        p->status = str_dup(fetch_body(p->fetch));
        if (p->status != NULL)
            begin(p, POLL_METRICS);
        else
            (void)error_set(why, "no memory");
        break;
    case POLL_METRICS:
        take_model(p, why);
        break;
    case POLL_FAILURES:
        take_failures(p, why);
        break;
    case POLL_RESTS:
        break;
    }
}

bool top_poll_wait(struct top_poll *p, const int *fds, bool *ready_r, size_t count, int timeout_ms)
{
    struct error why;
    const int64_t now = clock_ms();
    error_init(&why);
    if (p->step == POLL_RESTS && now >= p->next_ms) {
        p->next_ms = now + p->interval_ms;
        begin(p, POLL_STATUS);
    }
    if (p->step == POLL_RESTS && p->next_ms - now < timeout_ms)
        timeout_ms = p->next_ms > now ? (int)(p->next_ms - now) : 0;
    const enum fetch_state state = fetch_wait(p->fetch, fds, ready_r, count, timeout_ms, &why);
    if (state == FETCH_BUSY || p->step == POLL_RESTS)
        return false;
    if (state == FETCH_DONE)
        take(p, &why);
    if (why.set) {
        p->trouble = why;
        rest(p);
    }
    return true;
}
