#include "warm_pace.h"

#include <esclusa/clock.h>

#define FAIL_FIRST_MS  1000
#define FAIL_MOST_MS   60000
#define YOUNG_IN_A_ROW 3
#define SAME_TIME_MS   250
#define AFTER_YOUNG_MS 500  /* no dial at once after one that closed young: it may be a habit */
#define USEFUL_MS      1000 /* kept for less it is hardly ever there when it is wanted */
#define REST_FIRST_MS  60000
#define RELAX_FIRST_MS 300000
#define REST_MOST_MS   3600000

static int64_t doubled(int64_t first, unsigned times, int64_t most)
{
    int64_t value = first;
    for (unsigned i = 0; i < times && value < most; i++)
        value *= 2;
    return value < most ? value : most;
}

/* xorshift32 (Marsaglia 2003): so that workers and gateways do not come back all at once. */
static uint32_t draw(struct warm_pace *p)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 17;
    p->random ^= p->random << 5;
    return p->random;
}

/* Three quarters to five quarters of it. */
static int64_t jittered(struct warm_pace *p, int64_t value)
{
    return value * 3 / 4 + (int64_t)draw(p) % (value / 2 + 1);
}

void warm_pace_init(struct warm_pace *p, unsigned min, unsigned max, int64_t idle_ms, uint32_t seed)
{
    *p = (struct warm_pace){
        .min = min,
        .max = max,
        .idle_ms = idle_ms,
        .limit_ms = idle_ms,
        .tokens = WARM_BURST,
        .random = seed | 1, /* never 0 */
    };
}

/* ---- demand ---- */

static void pass_time(struct warm_pace *p, int64_t now)
{
    int64_t passed = now - p->second_began_ms;
    if (passed >= 1000) {
        p->asked_before = passed < 2000 ? p->asked : 0;
        p->asked = 0;
        p->second_began_ms = now;
    }
    int64_t gained = now - p->filled_ms;
    p->filled_ms = now;
    bool full = gained >= WARM_BURST - (int64_t)p->tokens;
    p->tokens = full ? WARM_BURST : p->tokens + (unsigned)gained;
    if (p->limit_ms < p->idle_ms && now >= p->relax_ms)
        p->limit_ms = p->idle_ms;
}

void warm_pace_asked(struct warm_pace *p, int64_t now)
{
    pass_time(p, now);
    p->asked++;
}

unsigned warm_pace_target(struct warm_pace *p, int64_t now)
{
    pass_time(p, now);
    unsigned wanted = p->asked > p->asked_before ? p->asked : p->asked_before;
    if (wanted < p->min)
        return p->min;
    return wanted > p->max ? p->max : wanted;
}

/* ---- dials ---- */

struct warm_turn warm_pace_turn(struct warm_pace *p, int64_t now, unsigned have, unsigned dialing)
{
    struct warm_turn turn = {.dials = 0, .look_ms = CLOCK_NEVER};
    unsigned target = warm_pace_target(p, now);
    unsigned at_once = p->failures > 0 ? 1 : WARM_DIALS_AT_ONCE;
    if (have >= target || dialing >= at_once)
        return turn;
    if (now < p->not_before_ms || p->tokens == 0) {
        turn.look_ms = now < p->not_before_ms ? p->not_before_ms : now + 1;
        return turn;
    }
    turn.dials = target - have;
    if (turn.dials > at_once - dialing)
        turn.dials = at_once - dialing;
    if (turn.dials > p->tokens)
        turn.dials = p->tokens;
    return turn;
}

void warm_pace_began(struct warm_pace *p)
{
    if (p->tokens > 0)
        p->tokens--;
}

static void hold(struct warm_pace *p, int64_t until)
{
    if (p->not_before_ms < until)
        p->not_before_ms = until;
}

bool warm_pace_failed(struct warm_pace *p, int64_t now)
{
    if (p->failures > 0 && now < p->not_before_ms)
        return false; /* one that began together with the one that failed first */
    int64_t wait = jittered(p, doubled(FAIL_FIRST_MS, p->failures, FAIL_MOST_MS));
    hold(p, now + (wait < FAIL_MOST_MS ? wait : FAIL_MOST_MS));
    return p->failures++ == 0;
}

bool warm_pace_connected(struct warm_pace *p)
{
    bool failing = p->failures > 0;
    p->failures = 0;
    return failing;
}

/* ---- upstreams that close early ---- */

void warm_pace_lived(struct warm_pace *p, int64_t age_ms)
{
    if (2 * age_ms < p->limit_ms)
        return;
    p->young = 0;
    if (p->limit_ms < p->idle_ms)
        return;
    p->rests = p->shortenings = 0;
    p->told = false;
}

enum warm_verdict warm_pace_closed(struct warm_pace *p, int64_t now, int64_t age_ms)
{
    if (2 * age_ms >= p->limit_ms) {
        warm_pace_lived(p, age_ms);
        return WARM_AS_EVER;
    }
    hold(p, now + AFTER_YOUNG_MS);
    if (p->young == 0 || age_ms < p->young_age_ms)
        p->young_age_ms = age_ms;
    bool same_time = p->young > 0 && now - p->young_ms < SAME_TIME_MS;
    p->young_ms = now;
    if (same_time || ++p->young < YOUNG_IN_A_ROW)
        return WARM_AS_EVER;
    p->young = 0;
    bool told = p->told;
    p->told = true;
    int64_t less = p->young_age_ms * 3 / 4;
    if (less >= USEFUL_MS) {
        p->limit_ms = less;
        p->relax_ms = now + doubled(RELAX_FIRST_MS, p->shortenings++, REST_MOST_MS);
        return told ? WARM_AS_EVER : WARM_SHORT;
    }
    hold(p, now + jittered(p, doubled(REST_FIRST_MS, p->rests++, REST_MOST_MS)));
    return told ? WARM_AS_EVER : WARM_REST;
}

unsigned warm_share(unsigned total, unsigned workers, unsigned index)
{
    unsigned share = total / workers + (index < total % workers ? 1 : 0);
    return share == 0 && total > 0 ? 1 : share;
}
