/* The one line a session logs, at its end. */
#include "hello.h"
#include "rate.h"
#include "session.h"

#include <esclusa/clock.h>
#include <esclusa/log.h>

#include <string.h>

static void log_address(struct log_line *line, const char *key, const struct net_addr *a)
{
    char text[NET_TEXT_MAX];
    net_addr_format(a, text, sizeof text);
    log_text(line, key, text);
}

static void log_given(struct log_line *line, const char *key, const char *value)
{
    if (value[0] != '\0')
        log_text(line, key, value);
}

/* prefix: "" for the upstream's side, "consumer_" for the other. */
static void log_side(struct log_line *line, const char *prefix, const char *name, const char *value)
{
    char key[40];
    snprintf(key, sizeof key, "%s%s", prefix, name);
    log_given(line, key, value);
}

static void log_tls(struct log_line *line, const struct transport *t, const char *prefix)
{
    struct tls_info info;
    char key[40];
    if (t == NULL || !transport_tls_info(t, &info))
        return;
    log_side(line, prefix, "tls_version", info.version);
    log_side(line, prefix, "cipher", info.cipher);
    log_side(line, prefix, "group", info.group);
    log_side(line, prefix, "alpn", info.alpn);
    snprintf(key, sizeof key, "%sresumed", prefix);
    log_flag(line, key, info.resumed);
    const char *report = tls_session_report(t->ssl);
    log_side(line, prefix, "would_refuse", report != NULL ? report : "");
}

/* The transport whose failure explains the end. */
const struct tls_failure *session_tls_failure(const struct session *s)
{
    if (s->relaying) {
        if (s->relay.cause == RELAY_CAUSE_CLEAN)
            return NULL;
        return s->transport[s->relay.cause_side]->failure;
    }
    if (s->transport[RELAY_UP] != NULL)
        return s->transport[RELAY_UP]->failure;
    return s->transport[RELAY_DOWN] != NULL ? s->transport[RELAY_DOWN]->failure : NULL;
}

static void log_failure(struct log_line *line, const struct session *s)
{
    const struct tls_failure *f = session_tls_failure(s);
    log_text(line, "phase", phase_word(s->failure->phase));
    log_text(line, "error", s->failure->error);
    if (f != NULL) {
        log_given(line, "expected", f->expected);
        log_given(line, "names", f->names);
        log_given(line, "subject", f->subject);
        log_given(line, "issuer", f->issuer);
        if (f->depth >= 0)
            log_number(line, "depth", f->depth);
        if (f->alert >= 0)
            log_number(line, "alert", f->alert);
    }
    log_given(line, "remedy", s->failure->remedy);
}

/* Failures come in crowds, each like the one before: so many lines a second of one reason and
 * service, and the next one says how many were left out. All are counted. */
static bool is_left_out(const struct session *s, uint64_t *left_out_r)
{
    const int64_t rate = s->snapshot->config.log_rate;
    struct stats_service *stats = s->service->stats;
    int64_t unused = 0;
    if (rate == 0 || stats == NULL || reason_level(s->reason) > LOG_LEVEL_WARN)
        return false;
    struct stats_lines *lines = &stats->lines[s->reason];
    if (!rate_take(&lines->due_us, rate, clock_us(), &unused)) {
        atomic_fetch_add(&lines->left_out, 1);
        return true;
    }
    *left_out_r = atomic_exchange(&lines->left_out, 0);
    return false;
}

static bool is_unwanted(const struct session *s)
{
    switch ((enum log_sessions)s->service->config->log_sessions) {
    case LOG_SESSIONS_ALL:
        return false;
    case LOG_SESSIONS_FAILED:
        return reason_level(s->reason) > LOG_LEVEL_WARN;
    case LOG_SESSIONS_NONE:
        break;
    }
    return true;
}

void session_log(const struct session *s)
{
    struct log_line line;
    uint64_t left_out = 0;
    if (!log_wants(reason_level(s->reason)) || is_unwanted(s) || is_left_out(s, &left_out))
        return;
    log_begin(&line, reason_level(s->reason), "session");
    log_number(&line, "id", (int64_t)s->id);
    log_text(&line, "reason", reason_word(s->reason));
    log_text(&line, "listen", s->at->text);
    log_address(&line, "consumer", &s->consumer);
    if (s->proxied != NULL)
        log_address(&line, "peer", &s->proxied->peer);
    if (s->service->send_proxy_tlvs & PROXY_TLV_UNIQUE_ID) {
        char id[HELLO_ID_MAX];
        hello_id(s, id);
        log_text(&line, "unique_id", id);
    }
    if (s->upstream != NULL)
        log_text(&line, "upstream", s->upstream->text);
    if (s->attempts > 0 || s->warm)
        log_address(&line, "address", &s->upstream_address);
    if (s->attempts > 1)
        log_number(&line, "attempts", s->attempts);
    if (s->warm)
        log_flag(&line, "warm", true);
    bool relayed = s->relaying;
    if (relayed) {
        log_tls(&line, s->transport[RELAY_UP], "");
        log_tls(&line, s->transport[RELAY_DOWN], "consumer_");
    }
    log_number(&line, "bytes_up", relayed ? (int64_t)s->relay.from[RELAY_DOWN].bytes : 0);
    log_number(&line, "bytes_down", relayed ? (int64_t)s->relay.from[RELAY_UP].bytes : 0);
    if (s->connect_us >= 0)
        log_ms(&line, "connect_ms", s->connect_us);
    if (s->handshake_us >= 0)
        log_ms(&line, "handshake_ms", s->handshake_us);
    log_ms(&line, "duration_ms", clock_us() - s->began_us);
    if (s->failure != NULL)
        log_failure(&line, s);
    if (left_out > 0)
        log_number(&line, "left_out", (int64_t)left_out);
    log_end(&line);
}
