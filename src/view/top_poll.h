/* top_poll: asks the gateway again and again, whatever becomes of it. One thread; never blocks but
 * in top_poll_wait(). */
#ifndef ESCLUSA_VIEW_TOP_POLL_H
#define ESCLUSA_VIEW_TOP_POLL_H

#include "fetch.h"
#include "model.h"
#include "top_model.h"

enum poll_step { POLL_RESTS, POLL_STATUS, POLL_METRICS, POLL_FAILURES };

struct top_poll {
    struct fetch *fetch; /* the caller's */
    const char *address;
    int64_t interval_ms;
    enum poll_step step;
    int64_t next_ms; /* when it is to ask again */
    bool only_failures, want_failures;
    char *status; /* the first of two answers */
    struct top_model model;
    struct failures failures;
    bool failures_known;
    int64_t answered_ms;  /* when the model was made */
    int64_t restarted_ms; /* when it was seen that the gateway is another process; 0: never */
    struct error trouble; /* why the last poll got no answer; not set: it got one */
};

void top_poll_begin(struct top_poll *p, struct fetch *fetch, const char *address,
                    int64_t interval_ms);
void top_poll_end(struct top_poll *p);

/* Whether /failures is asked, too. From now on, and once at once. */
void top_poll_failures(struct top_poll *p, bool wanted);

/* Waits until something happened: for fds and ready_r see fetch_wait(). True: what is known has
 * changed. */
bool top_poll_wait(struct top_poll *p, const int *fds, bool *ready_r, size_t count, int timeout_ms);

#endif
