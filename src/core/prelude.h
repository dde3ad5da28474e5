/* prelude: what is said on a fresh connection before the upstream's own TLS: TLS to a proxy, the
 * proxy's dialogue, STARTTLS; each stage only if the service has it. Private to core.
 *
 * Owner: the dial, on the worker's thread. Nothing blocks. It knows no loop: its owner waits for
 * what prelude_want() says and calls prelude_run() again. */
#ifndef ESCLUSA_CORE_PRELUDE_H
#define ESCLUSA_CORE_PRELUDE_H

#include "phase.h"

#include <esclusa/config.h>
#include <esclusa/dialogue.h>
#include <esclusa/reason.h>
#include <esclusa/transport.h>

struct worker;

enum prelude_status {
    PRELUDE_AGAIN,
    PRELUDE_CONSUMER, /* the consumer has the word: it is to hear `early`, and what it says goes to
                         prelude_consumer(); the peer is still watched */
    PRELUDE_DONE, /* the next byte on the transport is the upstream's TLS (or its plain stream) */
    PRELUDE_FAILED
};

enum prelude_stage { PRELUDE_PROXY_TLS, PRELUDE_PROXY, PRELUDE_STARTTLS, PRELUDE_OVER };

struct prelude {
    enum prelude_stage stage;
    struct transport *transport; /* to whom we speak now */
    struct buf early;            /* for the consumer, before anything else */
    struct buf held;             /* mysql: what the consumer has said, for the server under TLS */
    const struct buf *hello;     /* said to the upstream once a proxy has opened it: hello.h */
    /* When it failed. */
    enum reason reason;
    char error[512];
    const char *remedy; /* NULL: none; lives as long as the prelude */
    bool silent;        /* nobody was found wrong: another upstream may be tried */
    /* private */
    struct worker *worker;
    const struct service *service;
    const struct upstream *upstream;
    struct dialogue *dialogue;
    bool want_write;
};

/* The service has something to say there. */
bool prelude_needed(const struct service *service);
/* Takes the connected fd over, also when it fails. NULL: no memory. */
struct prelude *prelude_create(struct worker *worker, const struct service *service,
                               const struct upstream *upstream, int fd) WARN_UNUSED;
/* NULLs *p; nothing for NULL. Closes the connection unless the transport was taken. */
void prelude_destroy(struct prelude **p);
enum prelude_status prelude_run(struct prelude *p);
/* After PRELUDE_CONSUMER. */
enum prelude_status prelude_consumer(struct prelude *p, const void *bytes, size_t length);
bool prelude_wants_consumer(const struct prelude *p);
unsigned prelude_want(const struct prelude *p); /* TP_WANT_* */
enum phase prelude_phase(const struct prelude *p);
/* Time is up: sets the reason. after: "10s". */
void prelude_too_late(struct prelude *p, const char *after);

#endif
