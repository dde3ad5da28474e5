/* core: the gateway as a whole: its workers, their sessions, and their life from start to drain. */
#ifndef ESCLUSA_CORE_H
#define ESCLUSA_CORE_H

#include <esclusa/config.h>
#include <esclusa/error.h>

#include <stdio.h>
#include <time.h>

struct gateway;

/* How this process was started: the program and its words, and the sockets that it was handed
 * (inherit.h). Main thread. */
struct program;
/* The first thing that main() does: before any descriptor is opened and any thread is started.
 * argv: borrowed. NULL: the variables of a hand-over say what is not so. */
struct program *program_create(char *const argv[], struct error *err) WARN_UNUSED;
/* It is going to serve: a small process is forked that can start it anew (launcher.h), before
 * anything secret is read. None where this is process 1, whose end would end that too. */
void program_prepare(struct program *program);
/* The start has failed: why, for whoever waits to be told, an esclusa that hands over. */
void program_failed(struct program *program, const char *why);
void program_destroy(struct program **program);

/* Where a new snapshot comes from at a reload; called on the main thread, may block on files.
 * workers: what the process runs with, which a reload cannot change: the snapshot is built for that
 * many. */
struct snapshot_source {
    struct snapshot *(*load)(void *context, unsigned workers, struct error *err);
    void *context;
    /* When reading for the first snapshot began, CLOCK_REALTIME: a file that has changed since is
     * read again. Zero: not known, and a change until gateway_create() goes unnoticed. */
    struct timespec since;
    struct program *program; /* borrowed for the gateway's life; NULL: SIGUSR2 is refused */
    /* Give up what serving does not need, for good, as the configuration says: a program that does
     * something else afterwards leaves it false. */
    bool confine;
};

/* `esclusa check --sandbox`: what the process will be allowed. False: err names an unknown user. */
bool confine_print(const struct snapshot *snapshot, FILE *out, struct error *err) WARN_UNUSED;

/* Opens every listener and starts the workers; on an error nothing is left half-started. Takes a
 * reference of its own to the snapshot. Main thread.
 * source: copied, its context is borrowed for the gateway's life; NULL: SIGHUP is answered with an
 * error, and no file is watched. */
struct gateway *gateway_create(struct snapshot *snapshot, const struct snapshot_source *source,
                               struct error *err) WARN_UNUSED;
/* Serves until SIGTERM or SIGINT, then drains: after drain_delay stops listening, lets live
 * sessions finish up to the drain timeout, closes the rest; a second signal ends at once. SIGHUP
 * reloads: a new snapshot is built whole and swapped in, or nothing changes; live sessions keep
 * theirs. So does a change of a file that the snapshot was made from, unless its `watch` is off.
 * SIGUSR2 starts the program anew with the same listening sockets; once that one serves, this one
 * drains. BLOCKS. The signals must be blocked in every thread (gateway_block_signals()), as they
 * are taken from a signalfd(2).
 */
void gateway_run(struct gateway *gateway);
void gateway_destroy(struct gateway **gateway);

/* Before any thread is started: what the gateway takes (SIGTERM, SIGHUP, ...) blocked; SIGPIPE
 * ignored. */
void gateway_block_signals(void);

#endif
