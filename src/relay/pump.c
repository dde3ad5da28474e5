/* One way: read from the source, hand to the destination, pass the end on. */
#include <esclusa/relay.h>

void pump_init(struct pump *p, struct transport *source, struct transport *destination)
{
    *p = (struct pump){
        .source = source,
        .destination = destination,
        .state = PUMP_RUNNING,
        .wait = PUMP_WAIT_READ,
        .source_end = TP_OK,
        .chunk = TP_READ_FIRST,
        .readable = true, /* something may have come with the handshake: ask once */
    };
    buf_init(&p->held);
}

void pump_fini(struct pump *p)
{
    buf_fini(&p->held);
}

static enum pump_state end(struct pump *p, enum pump_state state)
{
    p->state = state;
    p->wait = PUMP_WAIT_NOTHING;
    buf_fini(&p->held);
    return state;
}

void pump_abandon(struct pump *p)
{
    end(p, PUMP_DESTINATION_ERROR);
}

static enum pump_state wait_for(struct pump *p, enum pump_wait wait)
{
    p->wait = wait;
    return PUMP_RUNNING;
}

/* Hands what waits to the destination. TP_OK: nothing waits any more, there or here. */
static enum tp_status deliver(struct pump *p)
{
    while (!buf_empty(&p->held)) {
        size_t taken = 0;
        enum tp_status status = p->destination->ops->write(p->destination, buf_peek(&p->held),
                                                           buf_length(&p->held), &taken);
        if (status != TP_OK)
            return status;
        buf_consume(&p->held, taken);
    }
    return p->destination->ops->flush(p->destination);
}

/* Everything that came has been delivered and the source has ended. */
static enum pump_state pass_end(struct pump *p)
{
    enum tp_status how = p->source_end;
    if (how == TP_TRUNCATED && p->truncated_is_end)
        how = TP_EOF;
    if (how == TP_TRUNCATED)
        return end(p, PUMP_TRUNCATED);
    if (how == TP_ERROR)
        return end(p, PUMP_SOURCE_ERROR);
    if (p->hold_end)
        return wait_for(p, PUMP_WAIT_HELD);

    switch (p->destination->ops->shut_write(p->destination)) {
    case TP_OK:
        return end(p, PUMP_DONE);
    case TP_AGAIN:
        return wait_for(p, PUMP_WAIT_WRITE);
    case TP_EOF:
    case TP_TRUNCATED:
    case TP_ERROR:
        break;
    }
    return end(p, PUMP_DESTINATION_ERROR);
}

static size_t filter(struct pump *p, uint8_t *bytes, size_t length, bool end)
{
    bool over = false;
    length = p->filter(p->filter_context, bytes, length, end, &over);
    if (over)
        p->filter = NULL;
    return length;
}

/* The source has ended: what its filter has kept goes before the end. */
static void end_of_source(struct pump *p, enum tp_status how)
{
    p->source_end = how;
    p->was_truncated = how == TP_TRUNCATED;
    if (p->filter == NULL)
        return;
    uint8_t last[PUMP_FILTER_ROOM];
    if (!buf_append(&p->held, last, filter(p, last, 0, true)))
        end(p, PUMP_DESTINATION_ERROR);
}

/* Reads once and hands on. False: the source gave nothing. */
static bool move(struct pump *p, struct transport_scratch *scratch, size_t *moved)
{
    size_t length = 0;
    bool drained = true;
    size_t size = p->chunk < scratch->plain_size ? p->chunk : scratch->plain_size;
    if (p->filter != NULL && size > scratch->plain_size - PUMP_FILTER_ROOM)
        size = scratch->plain_size - PUMP_FILTER_ROOM;
    enum tp_status status =
        p->source->ops->read(p->source, scratch->plain, size, &length, &drained);
    if (status == TP_AGAIN) {
        p->readable = false;
        return false;
    }
    if (status != TP_OK) {
        end_of_source(p, status);
        return true;
    }
    p->readable = !drained;
    p->bytes += length;
    if (!drained && p->chunk < TP_PLAIN_SIZE)
        p->chunk *= 2;
    *moved += length;
    if (p->filter != NULL && (length = filter(p, scratch->plain, length, false)) == 0)
        return true;

    size_t taken = 0;
    status = p->destination->ops->write(p->destination, scratch->plain, length, &taken);
    if (status == TP_ERROR) {
        end(p, PUMP_DESTINATION_ERROR);
        return true;
    }
    if (taken < length && !buf_append(&p->held, scratch->plain + taken, length - taken)) {
        /* No memory: what was read cannot be kept, so the stream must not look whole. */
        end(p, PUMP_DESTINATION_ERROR);
    }
    return true;
}

enum pump_state pump_run(struct pump *p, struct transport_scratch *scratch, size_t budget)
{
    size_t moved = 0;
    while (p->state == PUMP_RUNNING) {
        enum tp_status status = deliver(p);
        if (status == TP_AGAIN) {
            p->chunk = TP_READ_FIRST;
            return wait_for(p, PUMP_WAIT_WRITE);
        }
        if (status != TP_OK)
            return end(p, PUMP_DESTINATION_ERROR);
        if (p->source_end != TP_OK)
            return pass_end(p);
        if (moved >= budget)
            return wait_for(p, PUMP_WAIT_TURN);
        if (!p->readable && !p->source->ops->has_buffered(p->source))
            return wait_for(p, PUMP_WAIT_READ);
        if (!move(p, scratch, &moved))
            return wait_for(p, PUMP_WAIT_READ);
    }
    return p->state;
}
