/* policy, inside: the resolver with its parts chosen by the caller, for tests. */
#ifndef ESCLUSA_SRC_RESOLVE_INTERNAL_H
#define ESCLUSA_SRC_RESOLVE_INTERNAL_H

#include "lookup.h"

#define RESOLVE_NAMES_MAX                                                                          \
    4096 /* names kept; those that nobody has asked for the longest go first */

struct resolver *resolver_create_with(const struct resolver_settings *settings,
                                      const struct system_options *system,
                                      const struct resolver_listener *listener,
                                      struct error *err) WARN_UNUSED;

#endif
