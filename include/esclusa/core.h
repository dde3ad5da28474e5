/* core: the gateway as a whole: its workers, their sessions, and their life from start to drain. */
#ifndef ESCLUSA_CORE_H
#define ESCLUSA_CORE_H

#include <esclusa/config.h>
#include <esclusa/error.h>

struct gateway;

/* Opens every listener and starts the workers; on an error nothing is left half-started. Takes a
 * reference of its own to the snapshot. Main thread. */
struct gateway *gateway_create(struct snapshot *snapshot, struct error *err) WARN_UNUSED;
/* Serves until SIGTERM or SIGINT, then drains: stops listening, lets live sessions finish up to the
 * drain timeout, closes the rest; a second signal ends at once. BLOCKS. SIGTERM and SIGINT must be
 * blocked in every thread (gateway_block_signals()), as they are taken from a signalfd(2). */
void gateway_run(struct gateway *gateway);
void gateway_destroy(struct gateway **gateway);

/* Before any thread is started: SIGTERM, SIGINT blocked; SIGPIPE ignored. */
void gateway_block_signals(void);

#endif
