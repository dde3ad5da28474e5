/* model: what the admin endpoint's JSON says. Only its files (model*.c) know libjansson. A key that
 * is missing, null or of another type is an empty text or NUMBER_NONE: an older or newer gateway is
 * shown as far as it goes. Texts are clean (view_clean): nothing in them drives a terminal. Lists
 * are cut at their bounds. The caller owns what is returned and frees it. */
#ifndef ESCLUSA_VIEW_MODEL_H
#define ESCLUSA_VIEW_MODEL_H

#include <esclusa/error.h>

#include <stddef.h>
#include <stdint.h>

#define NUMBER_NONE  INT64_MIN
#define FAILURES_MAX 1024
#define CHAIN_MAX    16

struct failure {
    int64_t id, alert, depth, attempts, bytes_up, bytes_down;
    double time_seconds, duration_seconds; /* < 0: not there */
    char time[40], service[128], listen[160], consumer[160], upstream[300], address[160];
    char phase[40], reason[60], meaning[200], error[1024];
    char subject[512], issuer[512], names[1024], expected[512], remedy[600];
    char chain[CHAIN_MAX][512];
    size_t chain_count;
};

struct failures {
    int64_t total, dropped;
    struct failure *items;
    size_t count;
};

bool model_failures(struct failures *f, const char *json, struct error *err) WARN_UNUSED;
void model_failures_free(struct failures *f);

/* The same JSON, indented, in ASCII without control characters but line breaks; NULL: it is none,
 * and err says so. The caller frees. */
char *model_pretty(const char *json, struct error *err);

/* Copies with \xNN for all that is not printable ASCII; cut at the size. */
void view_clean(char *dst, size_t size, const char *src, size_t length);

#endif
