/* /failures: the last sessions that failed, and why. */
#include "admin.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void put_time(struct json *j, int64_t wall_us)
{
    char text[40];
    struct tm utc;
    time_t seconds = (time_t)(wall_us / 1000000);
    size_t length = 0;
    if (gmtime_r(&seconds, &utc) != NULL)
        length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text + length, sizeof text - length, ".%03dZ", (int)(wall_us % 1000000 / 1000));
    json_text(j, "time", text);
    json_seconds(j, "time_seconds", wall_us);
}

static void put_chain(struct json *j, const char *chain)
{
    char copy[sizeof((struct failure_note *)0)->chain];
    char *rest = NULL;
    memcpy(copy, chain, sizeof copy);
    json_open(j, "chain", '[');
    for (char *subject = strtok_r(copy, "\n", &rest); subject != NULL;
         subject = strtok_r(NULL, "\n", &rest))
        json_text(j, NULL, subject);
    json_close(j, ']');
}

static void put_small(struct json *j, const char *key, int value)
{
    if (value < 0)
        json_null(j, key);
    else
        json_number(j, key, value);
}

static void put_note(struct json *j, const struct failure_note *n)
{
    json_open(j, NULL, '{');
    json_number(j, "id", (int64_t)n->id);
    put_time(j, n->wall_us);
    json_given(j, "service", n->service);
    json_given(j, "listen", n->listen);
    json_given(j, "consumer", n->consumer);
    json_given(j, "peer", n->peer);
    json_given(j, "upstream", n->upstream);
    json_given(j, "address", n->address);
    json_text(j, "phase", phase_word(n->phase));
    json_text(j, "reason", reason_word(n->reason));
    json_text(j, "meaning", reason_meaning(n->reason));
    json_given(j, "error", n->error);
    put_small(j, "alert", n->alert);
    put_small(j, "depth", n->depth);
    json_given(j, "subject", n->subject);
    json_given(j, "issuer", n->issuer);
    json_given(j, "names", n->names);
    json_given(j, "expected", n->expected);
    put_chain(j, n->chain);
    json_given(j, "remedy", n->remedy);
    json_number(j, "attempts", n->attempts);
    json_seconds(j, "duration_seconds", n->duration_us);
    json_number(j, "bytes_up", (int64_t)n->bytes_up);
    json_number(j, "bytes_down", (int64_t)n->bytes_down);
    json_close(j, '}');
}

void admin_failures(void *gateway, const struct http_request *request, struct http_answer *answer)
{
    struct gateway *g = gateway;
    uint64_t id = 0;
    if (!admin_number(request, "id", 1, INT64_MAX, 0, &id, answer))
        return;
    struct failure_note *notes = calloc(FAILURES_KEPT, sizeof *notes);
    if (notes == NULL) {
        admin_say(answer, 503, "no memory\n");
        return;
    }
    size_t count = failures_list(g->failures, notes), shown = 0;
    struct json j = {.out = &answer->body};
    answer->type = HTTP_JSON;
    json_open(&j, NULL, '{');
    json_number(&j, "total", (int64_t)failures_total(g->failures));
    json_number(&j, "dropped", (int64_t)failures_dropped(g->failures));
    json_open(&j, "failures", '[');
    for (size_t i = 0; i < count; i++) {
        if (id != 0 && notes[i].id != id)
            continue;
        put_note(&j, &notes[i]);
        shown++;
    }
    json_close(&j, ']');
    json_close(&j, '}');
    text_add(&answer->body, "\n");
    free(notes);
    if (id != 0 && shown == 0)
        admin_say(answer, 404, "no session with this id is among the last that failed\n");
}
