/* /sessions: a page of the live sessions, as their workers have copied them. */
#include "admin.h"
#include "listing.h"

#include <esclusa/clock.h>

#define LIMIT     100
#define LIMIT_MAX 1000
#define BURST     20  /* pages at once */
#define EVERY_MS  100 /* and one more in this time */

/* A page makes every worker look at its sessions: not more often than people need. */
static bool may_ask(struct gateway *g)
{
    int64_t now = clock_ms();
    int64_t gained = (now - g->pages_filled_ms) / EVERY_MS;
    if (gained > 0) {
        g->pages_filled_ms += gained * EVERY_MS;
        g->pages += gained < BURST ? (unsigned)gained : BURST;
        if (g->pages > BURST)
            g->pages = BURST;
    }
    if (g->pages == 0)
        return false;
    g->pages--;
    return true;
}

static void put_address(struct json *j, const char *key, const struct net_addr *a)
{
    char text[NET_TEXT_MAX] = "";
    if (a->length > 0)
        net_addr_format(a, text, sizeof text);
    json_given(j, key, text);
}

static void put_tls(struct json *j, const struct listed *c)
{
    json_text(j, "tls_version", c->tls ? c->info.version : NULL);
    json_text(j, "cipher", c->tls ? c->info.cipher : NULL);
    if (c->tls)
        json_flag(j, "resumed", c->info.resumed);
    else
        json_null(j, "resumed");
}

static void put_session(struct json *j, const struct listed *c)
{
    json_open(j, NULL, '{');
    json_number(j, "id", (int64_t)c->id);
    json_text(j, "service", c->service->config->name);
    json_number(j, "worker", c->worker);
    json_text(j, "phase", phase_word(c->phase));
    json_text(j, "listen", c->at->text);
    put_address(j, "consumer", &c->consumer);
    put_address(j, "peer", &c->peer);
    json_text(j, "upstream", c->upstream != NULL ? c->upstream->text : NULL);
    put_address(j, "address", &c->address);
    json_seconds(j, "age_seconds", c->age_us);
    if (c->idle_us >= 0)
        json_seconds(j, "idle_seconds", c->idle_us);
    else
        json_null(j, "idle_seconds");
    json_number(j, "bytes_up", (int64_t)c->bytes_up);
    json_number(j, "bytes_down", (int64_t)c->bytes_down);
    put_tls(j, c);
    json_flag(j, "warm", c->warm);
    json_flag(j, "half_closed", c->half_closed);
    json_close(j, '}');
}

static int64_t live_sessions(const struct gateway *g)
{
    int64_t live = 0;
    for (unsigned i = 0; i < admin_workers(g); i++)
        live += atomic_load(&g->group.workers[i].load);
    return live;
}

static void put_page(struct json *j, const struct gateway *g, const struct listed *items,
                     size_t count, bool more)
{
    json_open(j, NULL, '{');
    json_number(j, "active", live_sessions(g));
    if (more)
        json_number(j, "next", (int64_t)items[count - 1].id);
    else
        json_null(j, "next");
    json_open(j, "sessions", '[');
    for (size_t i = 0; i < count; i++)
        put_session(j, &items[i]);
    json_close(j, ']');
    json_close(j, '}');
    text_add(j->out, "\n");
}

void admin_sessions(void *gateway, const struct http_request *request, struct http_answer *answer)
{
    struct gateway *g = gateway;
    uint64_t limit, after;
    if (!admin_number(request, "limit", 1, LIMIT_MAX, LIMIT, &limit, answer) ||
        !admin_number(request, "after", 1, INT64_MAX, INT64_MAX, &after, answer))
        return;
    if (!may_ask(g)) {
        admin_say(answer, 429, "too many pages: ask again in a second\n");
        return;
    }
    struct listed *items;
    size_t count;
    struct json j = {.out = &answer->body};
    /* One more than wanted tells whether there is a next page. */
    switch (listing_take(&g->listing, admin_workers(g), after, limit + 1, &items, &count)) {
    case LISTING_OK:
        answer->type = HTTP_JSON;
        put_page(&j, g, items, count > limit ? limit : count, count > limit);
        listing_free(items, count);
        break;
    case LISTING_LATE:
        admin_say(answer, 503, "a worker did not answer in time\n");
        break;
    case LISTING_NO_MEMORY:
        admin_say(answer, 503, "no memory\n");
        break;
    }
}
