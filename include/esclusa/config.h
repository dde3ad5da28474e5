/* config: what the user asked for. One table row an option (schema.c) drives the command line, the
 * help text, range errors, `esclusa check` and docs/configuration.md; snapshot.c makes of it what
 * sessions run with. Start-up (and later reload) only: may read files and block; one thread. */
#ifndef ESCLUSA_CONFIG_H
#define ESCLUSA_CONFIG_H

#include <esclusa/error.h>
#include <esclusa/log.h>
#include <esclusa/net.h>
#include <esclusa/tls.h>

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- as written ---- */

struct text_list {
    char **items;
    size_t count;
};

enum half_close_policy { HALF_CLOSE_ON, HALF_CLOSE_TLS13, HALF_CLOSE_OFF };
enum cut_policy { CUT_RESET, CUT_FIN };

/* One service: listeners and the upstream candidates behind them. Texts are heap-owned. */
struct service_config {
    char *name; /* "default" from the command line */
    struct text_list listen;
    struct text_list connect;
    char *ca, *ca_dir, *cert, *key, *server_name;
    char *listen_cert, *listen_key, *listen_ca;
    int64_t tls_min, tls_max; /* enum tls_version */
    int64_t backlog;
    int64_t connect_timeout, handshake_timeout, idle_timeout, half_closed_timeout; /* ms */
    int64_t half_close;           /* enum half_close_policy */
    int64_t missing_close_notify; /* enum cut_policy */
};

struct config {
    int64_t workers;       /* 0: as many as CPUs this process may use */
    int64_t drain_timeout; /* ms */
    int64_t log_level, log_format;
    struct service_config *services;
    size_t service_count;
};

/* ---- the table ---- */

enum option_type {
    OPTION_TEXT,
    OPTION_TEXT_LIST, /* repeatable */
    OPTION_NUMBER,
    OPTION_DURATION, /* milliseconds in an int64_t */
    OPTION_CHOICE    /* index of the word in an int64_t, through choice_values */
};
enum option_scope { OPTION_GLOBAL, OPTION_SERVICE };

struct option_choice {
    const char *word;
    int64_t value;
};

struct option_row {
    const char *name; /* config file spelling: "connect_timeout"; the flag is --connect-timeout */
    char letter;      /* 0: none */
    enum option_type type;
    enum option_scope scope;
    const char *argument;                /* "DUR", for the help */
    const char *default_text;            /* parsed as if it had been given; NULL: none */
    const char *default_note;            /* shown instead of default_text where that needs words */
    int64_t min, max;                    /* OPTION_NUMBER, OPTION_DURATION */
    const struct option_choice *choices; /* ends with a NULL word */
    size_t offset;                       /* in struct config or struct service_config */
    const char *help;                    /* one line */
};

extern const struct option_row option_table[];
extern const size_t option_count;

/* "--connect-timeout" of "connect_timeout". */
void option_flag(const struct option_row *row, char *dst, size_t size);
/* Parses and stores one value into the struct at base; the error says what was given and what would
 * do, without naming the place. */
bool option_store(const struct option_row *row, void *base, const char *value,
                  struct error *err) WARN_UNUSED;
/* The current value as text ("10s", "tls13", "a, b"); "" for none. */
void option_format(const struct option_row *row, const void *base, char *dst, size_t size);

/* ---- the command line ---- */

enum command { COMMAND_RUN, COMMAND_CHECK, COMMAND_HELP, COMMAND_VERSION };

/* Empty but for one service, "default", and the defaults of the table. On an error nothing is left
 * to free. */
bool config_init(struct config *c, struct error *err) WARN_UNUSED;
void config_fini(struct config *c);
/* c: fresh from config_init(); config_fini() is the caller's also on an error. Parses argv (GNU
 * style: --opt value, --opt=value, -l value; no abbreviations; unknown options with a "did you
 * mean"); checks everything that needs no file: combinations, ranges, addresses. */
bool config_from_command_line(struct config *c, int argc, char *const argv[],
                              enum command *command_r, struct error *err) WARN_UNUSED;
void config_print_help(FILE *out);

/* ---- what sessions run with ---- */

struct listen_at {
    struct net_endpoint endpoint;
    char text[NET_TEXT_MAX];
};

struct upstream {
    struct net_endpoint endpoint;
    char text[NET_TEXT_MAX];
    struct tls_name expected; /* tls:// only */
};

struct service {
    const struct service_config *config;
    struct listen_at *listeners;
    size_t listener_count;
    struct upstream *upstreams;
    size_t upstream_count;
    struct tls_profile *upstream_tls;   /* NULL: no tls:// upstream */
    struct tls_profile *downstream_tls; /* NULL: no tls:// listener */
};

/* Immutable once made; shared by threads through its reference count. */
struct snapshot {
    atomic_uint references;
    struct config config;
    unsigned workers; /* resolved: >= 1 */
    struct service *services;
    size_t service_count;
};

/* Takes *config over (it is empty afterwards) and builds the rest: certificates read, keys matched,
 * contexts made. NULL: err names the option and the file; *config is still the caller's. */
struct snapshot *snapshot_create(struct config *config, struct error *err) WARN_UNUSED;
struct snapshot *snapshot_ref(struct snapshot *s);
/* Any thread; the last one frees. NULLs *s. */
void snapshot_unref(struct snapshot **s);
/* `esclusa check`: what would run, one line a setting, to out. */
void snapshot_print(const struct snapshot *s, FILE *out);

/* The one sentence about a listener that the start-up log and `esclusa check` show:
 * "tcp://127.0.0.1:8080 -> tls://host:443 verified as host against system store". Cut at size. */
void service_describe(const struct service *service, const struct listen_at *listener, char *dst,
                      size_t size);
#define SERVICE_TEXT_MAX 2048

/* CPUs this process may use: sched_getaffinity(2) and the cgroup's CPU quota, rounded up; >= 1. */
unsigned cpu_allowance(void);

#endif
