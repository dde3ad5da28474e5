/* fetch: GET over HTTP from the admin endpoint, one at a time. The only place that knows libcurl.
 * One thread. Bounded: 2 s to connect, 5 s for an answer, 16 MiB of it. No proxy, no redirect, no
 * file of the user's (.netrc, .curlrc) is heeded: it reads from the address and from nowhere else.
 */
#ifndef ESCLUSA_VIEW_FETCH_H
#define ESCLUSA_VIEW_FETCH_H

#include "address.h"

#include <esclusa/text.h>

struct fetch;

enum fetch_state { FETCH_BUSY, FETCH_DONE, FETCH_FAILED };

#define FETCH_WAITED_MAX 4

struct fetch *fetch_create(const struct view_address *address, struct error *err);
void fetch_destroy(struct fetch **fetch);

/* Begins; what was under way is given up. path: "/status". */
bool fetch_begin(struct fetch *f, const char *path, struct error *err) WARN_UNUSED;

/* Waits until it went on, one of the descriptors can be read or hung up, or timeout_ms passed.
 * Without a fetch under way it only waits. ready_r[i]: descriptor i; count <= FETCH_WAITED_MAX.
 * On FETCH_FAILED err says "cannot reach ADDR: ..."; FETCH_DONE and FETCH_FAILED are told once. */
enum fetch_state fetch_wait(struct fetch *f, const int *fds, bool *ready_r, size_t count,
                            int timeout_ms, struct error *err);

/* Of the last that was done. The text is the fetch's and valid until the next begins. */
long fetch_status(const struct fetch *f);
const char *fetch_body(const struct fetch *f);

/* The last was answered with another status than 200, and err has what it says. */
bool fetch_refused(const struct fetch *f, const char *address, struct error *err) WARN_UNUSED;

/* All of it at once; blocks. */
bool fetch_now(struct fetch *f, const char *path, struct error *err) WARN_UNUSED;

#endif
