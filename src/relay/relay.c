/* Two pumps and the end policy:
 *
 * - A direction that ends cleanly passes the end on, and the other goes on (half-close).
 * - A source that was cut or failed is dead both ways: what came from it has been delivered, the
 *   session ends, and the other side is reset, for a clean end would make the cut look whole.
 * - A destination that takes no more may still have sent something: the other direction goes on
 *   until it ends too. */
#include <esclusa/relay.h>

static enum relay_side other(enum relay_side side)
{
    return side == RELAY_DOWN ? RELAY_UP : RELAY_DOWN;
}

void relay_init(struct relay *r, struct transport *down, struct transport *up,
                const struct relay_policy *policy)
{
    *r = (struct relay){.side = {[RELAY_DOWN] = down, [RELAY_UP] = up}};
    pump_init(&r->from[RELAY_DOWN], down, up);
    pump_init(&r->from[RELAY_UP], up, down);
    for (int i = 0; i < RELAY_SIDES; i++) {
        r->from[i].truncated_is_end = policy->truncated_is_end[i];
        r->from[i].hold_end = policy->hold_end[i];
    }
}

void relay_fini(struct relay *r)
{
    pump_fini(&r->from[RELAY_DOWN]);
    pump_fini(&r->from[RELAY_UP]);
}

void relay_preload(struct relay *r, enum relay_side from, struct buf *bytes)
{
    struct pump *p = &r->from[from];
    p->bytes += buf_length(bytes);
    p->held = *bytes;
    buf_init(bytes);
}

void relay_filter(struct relay *r, enum relay_side from, pump_filter filter, void *context)
{
    r->from[from].filter = filter;
    r->from[from].filter_context = context;
}

bool relay_insert(struct relay *r, enum relay_side from, const void *bytes, size_t length)
{
    return buf_append(&r->from[from].held, bytes, length);
}

static bool running(const struct relay *r, enum relay_side side)
{
    return r->from[side].state == PUMP_RUNNING;
}

static void blame(struct relay *r, enum relay_cause cause, enum relay_side side)
{
    if (r->cause_set)
        return; /* the first abnormal end is the cause, what follows are its effects */
    r->cause_set = true;
    r->cause = cause;
    r->cause_side = side;
}

/* Notes how a pump ended and what that means for the other. */
static void note(struct relay *r, enum relay_side side)
{
    const struct pump *p = &r->from[side];
    if (p->was_truncated)
        blame(r, RELAY_CAUSE_TRUNCATED, side);
    switch (p->state) {
    case PUMP_RUNNING:
    case PUMP_DONE:
        break;
    case PUMP_TRUNCATED:
        r->ended = true;
        break;
    case PUMP_SOURCE_ERROR:
        blame(r, RELAY_CAUSE_RESET, side);
        r->ended = true;
        break;
    case PUMP_DESTINATION_ERROR:
        blame(r, RELAY_CAUSE_RESET, other(side));
        r->from[other(side)].readable = true; /* read what it sent before it failed */
        break;
    }
}

/* A side whose own stream has ended and that hung up takes nothing any more. True: so it was. */
static bool note_hang_up(struct relay *r, enum relay_side side)
{
    bool open = running(r, side) && r->from[side].source_end == TP_OK;
    if (!r->hung_up[side] || open || !running(r, other(side)))
        return false;
    pump_abandon(&r->from[other(side)]);
    note(r, other(side));
    return true;
}

void relay_event(struct relay *r, enum relay_side side, unsigned events)
{
    if (events & RELAY_HUNG_UP)
        r->hung_up[side] = true;
    if (events & (RELAY_READABLE | RELAY_HUNG_UP))
        r->from[side].readable = true;
}

/* Runs one pump if it still runs. True: it has ended, or waits for the other direction to end. */
static bool run_pump(struct relay *r, enum relay_side side, struct transport_scratch *scratch,
                     size_t budget)
{
    struct pump *p = &r->from[side];
    if (r->ended || !running(r, side))
        return false;
    if (!running(r, other(side)) || r->from[other(side)].wait == PUMP_WAIT_HELD)
        p->hold_end = false;
    pump_run(p, scratch, budget);
    note(r, side);
    return !running(r, side) || p->wait == PUMP_WAIT_HELD;
}

bool relay_run(struct relay *r, struct transport_scratch *scratch, size_t budget)
{
    /* Again when the end of one direction may set the other going: a held-back end, a broken
     * destination. Each direction ends once, so this does. */
    bool again = !r->ended;
    for (int round = 0; again && round < 3; round++) {
        bool down = run_pump(r, RELAY_DOWN, scratch, budget);
        bool up = run_pump(r, RELAY_UP, scratch, budget);
        bool hung_down = note_hang_up(r, RELAY_DOWN);
        bool hung_up = note_hang_up(r, RELAY_UP);
        if (!running(r, RELAY_DOWN) && !running(r, RELAY_UP))
            r->ended = true;
        again = !r->ended && (down || up || hung_down || hung_up);
    }
    return !r->ended;
}

unsigned relay_want(const struct relay *r, enum relay_side side)
{
    unsigned want = TP_WANT_NONE;
    if (r->ended)
        return want;
    if (running(r, side) && r->from[side].wait == PUMP_WAIT_READ)
        want |= TP_WANT_READ;
    if (running(r, other(side)) && r->from[other(side)].wait == PUMP_WAIT_WRITE)
        want |= TP_WANT_WRITE;
    return want;
}

bool relay_wants_hang_up(const struct relay *r, enum relay_side side)
{
    return !r->hung_up[side];
}

bool relay_wants_turn(const struct relay *r)
{
    for (int i = 0; i < RELAY_SIDES; i++) {
        if (!r->ended && running(r, (enum relay_side)i) && r->from[i].wait == PUMP_WAIT_TURN)
            return true;
    }
    return false;
}

bool relay_half_closed(const struct relay *r)
{
    bool down = running(r, RELAY_DOWN) && r->from[RELAY_DOWN].source_end == TP_OK;
    bool up = running(r, RELAY_UP) && r->from[RELAY_UP].source_end == TP_OK;
    return !r->ended && down != up;
}

uint64_t relay_bytes(const struct relay *r)
{
    return r->from[RELAY_DOWN].bytes + r->from[RELAY_UP].bytes;
}

enum relay_close relay_how_to_close(const struct relay *r, enum relay_side side)
{
    bool told = r->from[other(side)].state == PUMP_DONE;
    bool dead = r->from[side].state == PUMP_SOURCE_ERROR || r->from[side].state == PUMP_TRUNCATED;
    return told && !dead ? RELAY_CLOSE_CLEAN : RELAY_CLOSE_RESET;
}
