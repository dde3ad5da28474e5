/* probe: active checks: each upstream of a service with `check` is asked regularly, by a connection
 * or by a whole verified handshake. Private to core; the worker's thread.
 *
 * - One worker makes the checks of one upstream; which one goes by its place, so that they are
 *   spread. What is not known yet is asked at once, the others spread over the first interval.
 * - So many failures in a row make it down (CHECK_DOWN), so many good ones bring it back; what
 *   consumers see of it is counted apart from that (eject.h), but for a good handshake, which is
 *   as good as a consumer's.
 * - A certificate that does not verify is an alarm and no failure: an upstream that is down would
 *   be passed over in silence. */
#ifndef ESCLUSA_CORE_PROBE_H
#define ESCLUSA_CORE_PROBE_H

#include <esclusa/config.h>

#include <stdbool.h>

struct worker;
struct probe_target;

struct probe {
    struct worker *worker;
    struct snapshot *snapshot; /* a reference; NULL: no checks */
    struct probe_target *targets;
    size_t count;
};

void probe_init(struct probe *p, struct worker *worker);
/* Checks for the services of that snapshot, and none for the one before. False: no memory, and
 * there are none. */
bool probe_move(struct probe *p, struct snapshot *snapshot) WARN_UNUSED;
void probe_stop(struct probe *p);

#endif
