/* Private to src/config and its tests. */
#ifndef ESCLUSA_CONFIG_INTERNAL_H
#define ESCLUSA_CONFIG_INTERNAL_H

#include <esclusa/config.h>

/* At least as many as option_table has rows; checked in schema.c. */
#define OPTION_ROWS_MAX 64

/* "--half-closed-timeout" and the like. */
#define OPTION_FLAG_MAX 48

/* The value as it may stand in an error text: in quotes, escaped, cut when very long. */
#define QUOTE_SHOWN 160
#define QUOTE_MAX   (4 * QUOTE_SHOWN + 8)
void config_quote(char *dst, size_t size, const char *value);

/* The struct that a row's offset counts from. */
void *config_base_of(struct config *c, const struct option_row *row);

/* NULL: no row has that name ("connect_timeout") or flag ("--connect-timeout", "-l"). */
const struct option_row *option_by_name(const char *name);
const struct option_row *option_by_flag(const char *flag);

/* The name that a tls:// upstream must bear: server_name if there is one, else its host. */
bool upstream_expected(struct tls_name *name, const struct service_config *s,
                       const struct net_endpoint *at, struct error *err) WARN_UNUSED;

/* cpu_allowance() with /proc and /sys looked up below root ("" for the real ones), and affinity as
 * the CPUs of sched_getaffinity(2). */
unsigned cpu_allowance_below(const char *root, unsigned affinity);

#endif
