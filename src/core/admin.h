/* admin: the endpoint of --admin: probes, metrics, status, sessions, failures, reload and drain, as
 * docs/admin.md has them. Private to core.
 *
 * Requests are answered on the HTTP server's thread. What they need of the main thread or of a
 * worker is asked for by a message to its loop, or read where it may be read by any thread: the
 * statistics, the facts, the heartbeat, atomics. */
#ifndef ESCLUSA_CORE_ADMIN_H
#define ESCLUSA_CORE_ADMIN_H

#include "gateway.h"

#include <esclusa/http.h>
#include <esclusa/json.h>

struct admin;

/* Main thread; nothing where the configuration has no admin address. Opens the address, or takes
 * over that of the process that this one replaces: before the sandbox. */
bool admin_open(struct gateway *g, struct error *err) WARN_UNUSED;
/* Answers from now on, so that probes are answered while the workers start: after the sandbox, as
 * it starts a thread. One that replaces another process begins only when it serves, for both accept
 * from the same socket, and that one is ready. */
bool admin_begin(struct gateway *g, struct error *err) WARN_UNUSED;
void admin_serves(struct gateway *g);
/* Another process answers there now: no more is accepted here, and the path is its own. */
void admin_give(struct gateway *g);
/* The listening descriptor to be handed over; -1: none. */
int admin_socket(const struct gateway *g);
/* Before anything that it reads is gone. */
void admin_stop(struct gateway *g);
/* Descriptors that it may come to need beside those that are open. */
int admin_descriptors(const struct gateway *g);

/* ---- what the files of it share; on the server's thread ---- */

/* Workers that may be looked at: none while they are being started. */
unsigned admin_workers(const struct gateway *g);
bool admin_healthy(const struct gateway *g);
/* why: a line for each cause that it is not ready for. */
bool admin_ready(const struct gateway *g, const struct snapshot *s, struct text *why);

/* admin_metrics.c, admin_status.c, admin_sessions.c, admin_failures.c: the answers of these names.
 */
void admin_metrics(void *gateway, const struct http_request *request, struct http_answer *answer);
void admin_status(void *gateway, const struct http_request *request, struct http_answer *answer);
void admin_sessions(void *gateway, const struct http_request *request, struct http_answer *answer);
void admin_failures(void *gateway, const struct http_request *request, struct http_answer *answer);

/* A text answer with that status. */
void admin_say(struct http_answer *answer, unsigned status, const char *text);
/* ?name= as a number; absent: otherwise. False: it is none between min and max, and that is said.
 */
bool admin_number(const struct http_request *request, const char *name, uint64_t min, uint64_t max,
                  uint64_t otherwise, uint64_t *value_r, struct http_answer *answer);
/* "listen_cert" of "--listen-cert". */
void admin_setting(const char *option, char *dst, size_t size);
const char *admin_use_word(enum tls_certificate_use use);
/* NULL for 0, which is "never". */
void admin_seconds(struct json *j, const char *key, int64_t seconds);

#endif
