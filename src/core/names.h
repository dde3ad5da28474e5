/* names: the resolver as the configuration wants it, and what it tells in the log. Private to core;
 * main thread. */
#ifndef ESCLUSA_CORE_NAMES_H
#define ESCLUSA_CORE_NAMES_H

#include "worker.h"

#include <esclusa/json.h>

struct gateway;

/* After the sandbox was entered: a resolver has a thread, later. */
bool names_open(struct worker_group *group, const struct config *c, struct error *err) WARN_UNUSED;
/* Another configuration is in service. */
void names_configure(struct worker_group *group, const struct config *c);

/* admin_names.c, on the admin's thread: what is known of an upstream's name. */
void names_put(struct json *j, const struct gateway *g, const struct upstream *u);

#endif
