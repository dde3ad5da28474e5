/* failures: the last sessions that failed, for whoever asks why. Private to core.
 *
 * A ring of places. A worker takes the next place and holds it while it writes; so does whoever
 * reads one. A worker never waits for a place: it takes the one after it, and after some tries
 * drops what it had to say, which is counted. */
#ifndef ESCLUSA_CORE_FAILURES_H
#define ESCLUSA_CORE_FAILURES_H

#include "phase.h"

#include <esclusa/error.h>
#include <esclusa/net.h>
#include <esclusa/reason.h>

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define FAILURES_KEPT 256

struct failure_note {
    uint64_t sequence; /* 1 for the first; 0: the place is empty */
    uint64_t id;       /* of the session */
    int64_t wall_us;   /* when it ended: clock_wall_us() */
    enum phase phase;
    enum reason reason;
    int alert, depth; /* -1: none */
    unsigned attempts;
    int64_t duration_us;
    uint64_t bytes_up, bytes_down;
    char service[72], listen[NET_TEXT_MAX], consumer[NET_TEXT_MAX], upstream[NET_TEXT_MAX],
        address[NET_TEXT_MAX], peer[NET_TEXT_MAX];
    char error[512], remedy[512], expected[256], names[512], subject[256], issuer[256], chain[512];
};

struct failures;

/* NULL: no memory. */
struct failures *failures_create(void);
void failures_destroy(struct failures **f);
/* Any thread; does not wait. fill: writes the note, all zero before, at its place. NULL f: nothing.
 */
void failures_add(struct failures *f, void (*fill)(struct failure_note *note, const void *what),
                  const void *what);
/* Copies of those that are there, the newest first; how many. notes_r: FAILURES_KEPT. Not on a
 * worker: waits for writers, a moment each. */
size_t failures_list(struct failures *f, struct failure_note *notes_r);
/* Since the start; 0 for NULL. */
uint64_t failures_total(const struct failures *f);
uint64_t failures_dropped(const struct failures *f);

/* session_failure.c: notes that it failed, if its end is a warning or an error. */
struct session;
void session_note_failure(const struct session *s);

#endif
