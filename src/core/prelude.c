/* Stage after stage, each over the transport that the one before has left. */
#include "prelude.h"

#include "hello.h"
#include "worker.h"

#include <esclusa/net.h>
#include <esclusa/str.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool prelude_needed(const struct service *service)
{
    return service->proxy != NULL || service->config->starttls != 0;
}

enum phase prelude_phase(const struct prelude *p)
{
    return p->stage <= PRELUDE_PROXY ? PHASE_PROXY : PHASE_STARTTLS;
}

/* ---- failures ---- */

static enum prelude_status fail(struct prelude *p, enum reason reason, bool silent,
                                const char *error, const char *remedy)
{
    p->reason = reason;
    p->silent = silent;
    p->remedy = remedy;
    (void)str_copy(p->error, sizeof p->error, error);
    return PRELUDE_FAILED;
}

static enum prelude_status no_memory(struct prelude *p)
{
    return fail(p, REASON_NO_MEMORY, false, "no memory for what comes before TLS", NULL);
}

static enum prelude_status dialogue_failed(struct prelude *p)
{
    const struct dialogue *d = p->dialogue;
    bool proxy = p->stage == PRELUDE_PROXY;
    enum reason reason = proxy ? REASON_PROXY_FAILED : REASON_STARTTLS_FAILED;
    bool silent = false;
    switch (d->fault) {
    case DIALOGUE_FAULT_NONE:
    case DIALOGUE_FAULT_MEMORY:
        reason = REASON_NO_MEMORY;
        break;
    case DIALOGUE_FAULT_CUT:
        silent = true;
        break;
    case DIALOGUE_FAULT_UNREACHABLE:
        reason = proxy ? REASON_PROXY_UNREACHABLE : REASON_STARTTLS_FAILED;
        silent = true;
        break;
    case DIALOGUE_FAULT_DENIED:
        reason = REASON_PROXY_DENIED;
        break;
    case DIALOGUE_FAULT_NO_TLS:
        reason = REASON_STARTTLS_REFUSED;
        break;
    case DIALOGUE_FAULT_BY_CONSUMER:
        reason = REASON_CONSUMER_PROTOCOL_ERROR;
        break;
    case DIALOGUE_FAULT_INJECTED:
        reason = proxy ? REASON_PROXY_FAILED : REASON_STARTTLS_INJECTED;
        break;
    case DIALOGUE_FAULT_GARBAGE:
    case DIALOGUE_FAULT_WORDS:
        break;
    }
    return fail(p, reason, silent, d->error, d->remedy);
}

static enum prelude_status proxy_tls_failed(struct prelude *p)
{
    const struct tls_failure *f = p->transport->failure;
    if (f == NULL)
        return no_memory(p);
    char text[sizeof p->error];
    snprintf(text, sizeof text, "TLS with the proxy: %s", f->reason);
    bool silent = f->fault == TLS_FAULT_SYSTEM || f->fault == TLS_FAULT_TRUNCATED;
    return fail(p, f->fault == TLS_FAULT_VERIFY ? REASON_PROXY_VERIFY_FAILED : REASON_PROXY_FAILED,
                silent, text, f->remedy);
}

void prelude_too_late(struct prelude *p, const char *after)
{
    char text[128];
    bool proxy = p->stage <= PRELUDE_PROXY;
    if (prelude_wants_consumer(p)) {
        snprintf(text, sizeof text, "the consumer did not log in within %s", after);
        (void)fail(p, REASON_CONSUMER_PROTOCOL_ERROR, false, text,
                   "check that the consumer is a MySQL client, or raise handshake_timeout");
        return;
    }
    snprintf(text, sizeof text, "no whole answer %s within %s",
             proxy ? "of the proxy" : "to STARTTLS", after);
    (void)fail(p, proxy ? REASON_PROXY_TIMEOUT : REASON_STARTTLS_TIMEOUT, true, text,
               proxy ? "check that the proxy's port speaks what the scheme of proxy says, or raise "
                       "handshake_timeout"
                     : "check that the upstream's port speaks the protocol of starttls, or raise "
                       "handshake_timeout");
}

/* ---- stages ---- */

static enum prelude_stage first_stage(const struct service *service)
{
    if (service->proxy == NULL)
        return PRELUDE_STARTTLS;
    return service->proxy->tls != NULL ? PRELUDE_PROXY_TLS : PRELUDE_PROXY;
}

/* What is said to the proxy is of where the upstream is; XMPP's stream is for a domain. */
static bool begin_dialogue(struct prelude *p)
{
    const struct service *s = p->service;
    const struct net_endpoint *to = &p->upstream->endpoint;
    struct dialogue_order order = {.host = to->host, .port = to->port};
    if (p->stage == PRELUDE_PROXY) {
        order.protocol = s->proxy->at.protocol;
        order.user = s->proxy->user;
        order.password = s->proxy->password;
    } else {
        order.protocol = (enum dialogue_protocol)s->config->starttls;
        order.host = p->upstream->peer.server_name.text;
    }
    p->dialogue = dialogue_create(&order);
    return p->dialogue != NULL;
}

/* Enters the stage that is due, or the end. */
static bool enter(struct prelude *p)
{
    if (p->stage == PRELUDE_STARTTLS && p->service->config->starttls == 0)
        p->stage = PRELUDE_OVER;
    return p->stage == PRELUDE_PROXY_TLS || p->stage == PRELUDE_OVER || begin_dialogue(p);
}

/* What came behind the proxy's answer is the upstream's. */
static enum prelude_status end_proxy(struct prelude *p, struct buf *rest)
{
    const uint8_t *bytes = buf_peek(rest);
    size_t length = buf_length(rest);
    if (p->stage == PRELUDE_STARTTLS) {
        if (length > 0)
            dialogue_feed(p->dialogue, bytes, length);
        return PRELUDE_AGAIN;
    }
    if (length > 0 && p->upstream->endpoint.scheme == NET_TLS) {
        p->stage = PRELUDE_PROXY;
        return fail(p, REASON_PROXY_FAILED, false,
                    "bytes came through the proxy before the upstream was asked for anything",
                    "check that the upstream's port speaks TLS from the first byte on; if not, "
                    "starttls may be what it needs");
    }
    if (length > 0 && !buf_append(&p->early, bytes, length))
        return no_memory(p);
    return PRELUDE_DONE;
}

static enum prelude_status end_dialogue(struct prelude *p)
{
    struct dialogue *d = p->dialogue;
    enum prelude_status status = PRELUDE_DONE;
    bool proxy = p->stage == PRELUDE_PROXY;
    p->dialogue = NULL;
    p->stage++;
    if (!enter(p)) {
        status = no_memory(p);
    } else if (proxy && !hello_write(p->transport, p->service->config, p->hello)) {
        status = fail(p, REASON_PROXY_FAILED, true,
                      "the connection was lost when the upstream was told of the consumer", NULL);
    } else if (proxy) {
        status = end_proxy(p, dialogue_rest(d));
    } else {
        if (buf_empty(&p->early)) { /* else the consumer has heard it */
            p->early = d->early;
            buf_init(&d->early);
        }
        p->held = d->held;
        buf_init(&d->held);
    }
    dialogue_destroy(&d);
    return status;
}

/* ---- in and out ---- */

/* TP_OK: all was sent. */
static enum tp_status send_all(struct prelude *p)
{
    struct transport *t = p->transport;
    const uint8_t *bytes;
    size_t length, taken;
    while ((length = dialogue_pending(p->dialogue, &bytes)) > 0) {
        enum tp_status status = t->ops->write(t, bytes, length, &taken);
        if (status != TP_OK)
            return status;
        dialogue_sent(p->dialogue, taken);
    }
    return t->ops->flush(t);
}

/* TP_OK: something was heard. */
static enum tp_status hear(struct prelude *p)
{
    struct transport *t = p->transport;
    uint8_t *bytes = p->worker->scratch.plain;
    size_t length = 0;
    bool drained = true;
    enum tp_status status = t->ops->read(t, bytes, TP_READ_MIN, &length, &drained);
    if (status == TP_OK)
        dialogue_feed(p->dialogue, bytes, length);
    else if (status != TP_AGAIN)
        dialogue_ended(p->dialogue);
    return status;
}

static enum prelude_status shake_hands(struct prelude *p)
{
    struct transport *t = p->transport;
    switch (t->ops->handshake(t)) {
    case TP_OK:
        p->stage = PRELUDE_PROXY;
        return begin_dialogue(p) ? PRELUDE_DONE : no_memory(p);
    case TP_AGAIN:
        return PRELUDE_AGAIN;
    case TP_EOF:
    case TP_TRUNCATED:
    case TP_ERROR:
        break;
    }
    return proxy_tls_failed(p);
}

/* Until somebody is waited for. A peer may answer before it has heard all, and close: what it said
 * tells more than that it is gone. */
static enum prelude_status talk(struct prelude *p)
{
    for (;;) {
        enum dialogue_state state = p->dialogue->state;
        if (state == DIALOGUE_FAILED)
            return dialogue_failed(p);
        enum tp_status sent = send_all(p);
        p->want_write = sent == TP_AGAIN;
        if (state == DIALOGUE_DONE) {
            if (p->want_write)
                return PRELUDE_AGAIN;
            if (sent != TP_OK)
                return fail(p, REASON_STARTTLS_FAILED, true, "the connection was lost before TLS",
                            NULL);
            enum prelude_status status = end_dialogue(p);
            if (status != PRELUDE_AGAIN)
                return status;
            continue;
        }
        if (hear(p) != TP_AGAIN)
            continue;
        if (sent == TP_OK || p->want_write)
            return state == DIALOGUE_CONSUMER ? PRELUDE_CONSUMER : PRELUDE_AGAIN;
        dialogue_ended(p->dialogue);
    }
}

enum prelude_status prelude_run(struct prelude *p)
{
    if (p->stage == PRELUDE_PROXY_TLS) {
        enum prelude_status status = shake_hands(p);
        if (status != PRELUDE_DONE)
            return status;
    }
    enum prelude_status status = talk(p);
    if (status == PRELUDE_CONSUMER && buf_empty(&p->early)) {
        p->early = p->dialogue->early;
        buf_init(&p->dialogue->early);
    }
    return status;
}

enum prelude_status prelude_consumer(struct prelude *p, const void *bytes, size_t length)
{
    dialogue_consumer(p->dialogue, bytes, length);
    return prelude_run(p);
}

bool prelude_wants_consumer(const struct prelude *p)
{
    return p->dialogue != NULL && p->dialogue->state == DIALOGUE_CONSUMER;
}

unsigned prelude_want(const struct prelude *p)
{
    if (p->stage == PRELUDE_PROXY_TLS)
        return p->transport->handshake_want;
    if (!p->want_write)
        return TP_WANT_READ;
    /* Where all that was waited for has come, more would wake in vain. */
    return p->dialogue->state == DIALOGUE_DONE ? TP_WANT_WRITE : TP_WANT_READ | TP_WANT_WRITE;
}

/* ---- life ---- */

struct prelude *prelude_create(struct worker *worker, const struct service *service,
                               const struct upstream *upstream, int fd)
{
    struct prelude *p = calloc(1, sizeof *p);
    if (p != NULL) {
        p->worker = worker;
        p->service = service;
        p->upstream = upstream;
        p->stage = first_stage(service);
        p->transport = p->stage == PRELUDE_PROXY_TLS
                           ? transport_tls_create(fd, service->proxy->tls, worker->index,
                                                  &service->proxy->peer, &worker->scratch_under)
                           : transport_plain_create(fd, false);
    }
    if (p == NULL || p->transport == NULL) {
        sock_close(fd);
        free(p);
        return NULL;
    }
    if (!enter(p))
        prelude_destroy(&p);
    return p;
}

void prelude_destroy(struct prelude **prelude)
{
    struct prelude *p = *prelude;
    *prelude = NULL;
    if (p == NULL)
        return;
    dialogue_destroy(&p->dialogue);
    transport_destroy(&p->transport);
    buf_fini(&p->early);
    buf_fini(&p->held);
    free(p);
}
