/* config: what the user asked for. One table row an option (option_table.c) drives the command
 * line, the config file, the help text, range errors, `esclusa check` and docs/configuration.md;
 * snapshot.c makes of it what sessions run with. Start-up (and later reload) only: may read files
 * and block; one thread. */
#ifndef ESCLUSA_CONFIG_H
#define ESCLUSA_CONFIG_H

#include <esclusa/dialogue.h>
#include <esclusa/error.h>
#include <esclusa/log.h>
#include <esclusa/net.h>
#include <esclusa/sock_options.h>
#include <esclusa/tls.h>

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- where it was written ---- */

enum origin_kind { ORIGIN_NONE /* a default of the table */, ORIGIN_COMMAND_LINE, ORIGIN_FILE };

struct origin {
    enum origin_kind kind;
    bool shared;      /* in the file's group `defaults`: for the services that have a use for it */
    unsigned line;    /* ORIGIN_FILE only */
    const char *file; /* ORIGIN_FILE only: one of config.files, and lives as long as that */
};

/* At least as many as option_table has rows; checked there. */
#define OPTION_ROWS_MAX 192

/* ---- as written ---- */

struct text_list {
    char **items;
    size_t count;
};

#define UPSTREAMS_MAX 64 /* of one service */

enum balance {
    BALANCE_FAILOVER,
    BALANCE_ROUND_ROBIN,
    BALANCE_LEAST_CONNECTIONS,
    BALANCE_RANDOM_TWO,
    BALANCE_SOURCE_HASH
};
enum race_word { RACE_TCP, RACE_TLS };
enum check_word { CHECK_OFF, CHECK_TCP, CHECK_TLS };
enum half_close_policy { HALF_CLOSE_ON, HALF_CLOSE_TLS13, HALF_CLOSE_OFF };
enum over_limit { OVER_LIMIT_WAIT, OVER_LIMIT_RESET };
enum log_sessions { LOG_SESSIONS_ALL, LOG_SESSIONS_FAILED, LOG_SESSIONS_NONE };
enum accept_proxy { ACCEPT_PROXY_OFF, ACCEPT_PROXY_V1, ACCEPT_PROXY_V2, ACCEPT_PROXY_ANY };
enum send_proxy { SEND_PROXY_OFF, SEND_PROXY_V1, SEND_PROXY_V2 };
enum proxy_tlv { /* bits */
                 PROXY_TLV_SSL = 1,
                 PROXY_TLV_CN = 2,
                 PROXY_TLV_CIPHER = 4,
                 PROXY_TLV_AUTHORITY = 8,
                 PROXY_TLV_ALPN = 16,
                 PROXY_TLV_UNIQUE_ID = 32,
                 PROXY_TLV_CRC32C = 64
};
enum cut_policy { CUT_RESET, CUT_FIN };
enum revoked_policy { REVOKED_LOG, REVOKED_CLOSE };
enum dns_word { DNS_WORD_CARES, DNS_WORD_SYSTEM };
enum sandbox_word { SANDBOX_WORD_OFF, SANDBOX_WORD_ON, SANDBOX_WORD_REQUIRE };

/* One service: listeners and the upstream candidates behind them. Texts are heap-owned. */
struct service_config {
    char *name;                             /* "default" from the command line */
    struct origin at;                       /* where it begins */
    struct origin origins[OPTION_ROWS_MAX]; /* of its settings, by row of option_table */
    struct text_list listen;
    struct text_list connect;
    struct text_list allow_from, deny_from; /* networks of consumers */
    int64_t accept_proxy;                   /* enum accept_proxy */
    struct text_list proxy_from;            /* networks of proxies */
    int64_t accept_proxy_timeout;           /* ms */
    int64_t send_proxy;                     /* enum send_proxy */
    struct text_list send_proxy_tlvs;
    int64_t forbid_private_upstreams; /* 0 or 1 */
    struct text_list allow_upstreams; /* networks, all the same */
    /* the upstream's side; see struct tls_settings */
    char *ca, *ca_dir, *cert, *key, *key_passphrase, *server_name;
    struct text_list verify_names, pins, tlsa, alpn;
    char *crl, *crl_dir;
    char *groups, *ciphers, *ciphersuites, *sigalgs;
    int64_t names_policy, pins_policy, revocation_policy; /* enum tls_policy */
    int64_t x509_strict;                                  /* enum tls_strictness */
    int64_t ocsp;                                         /* enum tls_ocsp */
    int64_t insecure_skip_verify, resumption;             /* 0 or 1 */
    int64_t resumption_age;                               /* ms */
    int64_t on_revoked;                                   /* enum revoked_policy */
    int64_t starttls; /* enum dialogue_protocol; 0: TLS at once */
    char *proxy, *proxy_credentials, *proxy_ca, *proxy_server_name;
    int64_t balance;                /* enum balance */
    struct text_list weights;       /* of connect, in its order; none: 1 each */
    int64_t backups;                /* so many, the last of connect */
    int64_t race;                   /* enum race_word */
    int64_t race_delay;             /* ms */
    int64_t failover_on_verify;     /* 0 or 1 */
    int64_t eject_after;            /* failures in a row; 0: never */
    int64_t eject_time, eject_max;  /* ms */
    int64_t check;                  /* enum check_word */
    int64_t check_interval;         /* ms */
    int64_t check_fall, check_rise; /* checks in a row */
    int64_t warm_min, warm_max;     /* warm_max 0: as warm_min */
    int64_t warm_max_idle;          /* ms */
    /* the listener's side */
    struct text_list listen_cert, listen_key, listen_ocsp, listen_alpn;
    char *listen_key_passphrase, *listen_ca, *listen_ca_dir, *listen_crl, *listen_crl_dir;
    int64_t listen_client; /* enum tls_client_auth */
    struct text_list listen_allow_cn, listen_allow_ou, listen_allow_dns, listen_allow_uri;
    struct text_list listen_allow_pin;
    int64_t listen_sni_strict, listen_tickets; /* 0 or 1 */
    char *listen_ticket_keys;
    int64_t listen_ticket_rotation; /* ms */
    char *listen_groups, *listen_ciphers, *listen_ciphersuites, *listen_sigalgs;
    int64_t listen_tls_min, listen_tls_max; /* enum tls_version; TLS_NEWEST: as tls_min, tls_max */
    int64_t security_level, listen_security_level;
    /* both */
    int64_t tls_min, tls_max; /* enum tls_version */
    int64_t required;         /* 0 or 1 */
    int64_t backlog;
    int64_t max_service_connections, max_consumer_connections, max_service_handshakes; /* 0: any */
    int64_t accept_rate;                               /* a second; 0: any */
    int64_t over_limit;                                /* enum over_limit */
    struct text_list allow_uid, allow_gid;             /* names or numbers */
    int64_t tcp_user_timeout, listen_tcp_user_timeout; /* ms; 0: the kernel's */
    /* sockets, towards the upstream and listening; 0 and NULL: as the kernel has it */
    char *source_interface, *source_ports, *congestion_control, *listen_congestion_control;
    struct text_list source_address;
    int64_t fwmark, dscp, listen_dscp, tcp_fast_open, listen_tcp_fast_open;
    int64_t send_buffer, receive_buffer, listen_send_buffer, listen_receive_buffer;
    int64_t keepalive_idle, keepalive_interval, keepalive_probes;
    int64_t listen_keepalive_idle, listen_keepalive_interval, listen_keepalive_probes;
    int64_t connect_timeout, handshake_timeout, idle_timeout, half_closed_timeout; /* ms */
    int64_t linger_timeout;                                                        /* ms */
    int64_t max_lifetime;                                                          /* ms; 0: none */
    int64_t log_sessions;         /* enum log_sessions */
    int64_t half_close;           /* enum half_close_policy */
    int64_t missing_close_notify; /* enum cut_policy */
};

enum check_format { CHECK_TEXT, CHECK_JSON };

struct config {
    char *file;                         /* --config; NULL: none */
    struct text_list files;             /* what was read: that file, then what it includes */
    enum check_format check_format;     /* --format */
    int64_t workers;                    /* 0: as many as CPUs this process may use */
    int64_t drain_delay, drain_timeout; /* ms */
    int64_t upgrade_timeout, upgrade_drain_timeout; /* ms */
    int64_t log_level, log_format;
    char *log_to;            /* a place of log_open() */
    int64_t log_rate;        /* failures a second, service and reason; 0: all */
    int64_t max_handshakes;  /* of consumers in progress */
    int64_t max_connections; /* of all services; 0: as many as there are descriptors for */
    int64_t dns;             /* enum dns_word */
    struct text_list dns_servers;
    int64_t dns_timeout, dns_tries, dns_stale_max; /* ms, but for the tries */
    int64_t watch, allow_weaker;                   /* 0 or 1 */
    int64_t watch_interval;                        /* ms */
    /* the process, once it serves */
    char *user, *group;            /* NULL: as it was started */
    int64_t sandbox;               /* enum sandbox_word */
    bool show_sandbox;             /* `esclusa check --sandbox` */
    int64_t keep_bind, core_dumps; /* 0 or 1 */
    struct text_list sandbox_read, sandbox_write;
    char *admin;                             /* an address; NULL: none */
    int64_t admin_allow_remote;              /* 0 or 1 */
    int64_t admin_read_only;                 /* 0 or 1 */
    struct origin origins[OPTION_ROWS_MAX];  /* of the global settings */
    struct origin defaults[OPTION_ROWS_MAX]; /* of what the group `defaults` holds */
    struct service_config *services;
    size_t service_count;
};

/* ---- the table ---- */

enum option_type {
    OPTION_TEXT,
    OPTION_TEXT_LIST, /* repeatable */
    OPTION_NUMBER,
    OPTION_DURATION, /* milliseconds in an int64_t */
    OPTION_CHOICE,   /* value of the word in an int64_t, through choices */
    OPTION_FLAG      /* true or false: 1 or 0 in an int64_t */
};
enum option_scope { OPTION_GLOBAL, OPTION_SERVICE };
/* What a service must have for the option to be of use; given without it is an error. */
enum option_use { USE_ALWAYS, USE_TLS_UPSTREAM, USE_TLS_LISTENER, USE_ANY_TLS };

/* What makes a new value verify less than the old one: see snapshot_weakens(). */
enum option_weaker {
    WEAKER_NEVER,
    WEAKER_IF_LESS, /* a number, choice or flag */
    WEAKER_IF_MORE,
    WEAKER_IF_GONE /* a text or list */
};

struct option_choice {
    const char *word;
    int64_t value;
};

struct option_row {
    const char *heading; /* of the group of rows that begins here; NULL: goes on */
    const char *name; /* config file spelling: "connect_timeout"; the flag is --connect-timeout */
    char letter;      /* 0: none */
    bool own;         /* each service has its own: may not stand in the file's group `defaults` */
    enum option_type type;
    enum option_scope scope;
    enum option_use use;
    enum option_weaker weaker;
    bool path;            /* names a file or directory that is read (or a URI): reloads watch it */
    bool written;         /* names a file or unix socket that is made anew while it runs */
    bool file_only;       /* not on the command line */
    bool restart;         /* a reload does not change it */
    const char *argument; /* "DUR", for the help */
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

enum command { COMMAND_RUN, COMMAND_CHECK, COMMAND_EXPLAIN, COMMAND_HELP, COMMAND_VERSION };

/* Empty but for one service, "default", and the defaults of the table. On an error nothing is left
 * to free. Not "config_init": that is a function of libconfig. */
bool config_set_up(struct config *c, struct error *err) WARN_UNUSED;
void config_fini(struct config *c);
/* c: fresh from config_set_up(); config_fini() is the caller's also on an error. Parses argv (GNU
 * style: --opt value, --opt=value, -l value; no abbreviations; unknown options with a "did you
 * mean"); with --config FILE reads that too, for the services and for those global settings that
 * argv does not give. Checks everything that needs no certificate: combinations, ranges,
 * addresses. */
bool config_from_command_line(struct config *c, int argc, char *const argv[],
                              enum command *command_r, struct error *err) WARN_UNUSED;
void config_print_help(FILE *out);

/* ---- the file ---- */

/* As for config_from_command_line(), with the file's text from memory. name is what errors call
 * it; what it includes is looked up beside that. Errors are "FILE:LINE: what was found; what would
 * do". Global settings whose origin is the command line stay as they are. */
bool config_from_text(struct config *c, const char *name, const char *text, size_t length,
                      struct error *err) WARN_UNUSED;
/* The same, from the file at path. */
bool config_from_file(struct config *c, const char *path, struct error *err) WARN_UNUSED;

/* `esclusa check --explain`: every option with its type, range, default and meaning. */
void config_print_explanation(FILE *out);

/* ---- what sessions run with ---- */

/* Where core counts; config only keeps the pointers. */
struct stats_service;
struct stats_upstream;

struct listen_at {
    struct net_endpoint endpoint;
    char text[NET_TEXT_MAX];
};

struct proxy_at {
    enum dialogue_protocol protocol;
    struct net_endpoint endpoint; /* NET_TLS: the proxy is spoken to over TLS */
};

/* On the way to all upstreams of a service. */
struct proxy {
    struct proxy_at at;
    char *user, *password;   /* NULL: none */
    struct tls_profile *tls; /* NULL: not over TLS */
    struct tls_peer peer;
};

struct upstream {
    struct net_endpoint endpoint;
    char text[NET_TEXT_MAX];
    struct tls_peer peer;         /* tls:// only; its names are the service's */
    uint32_t weight;              /* >= 1 */
    bool backup;                  /* for when no other is usable */
    uint64_t mark;                /* of the text: the same wherever it stands */
    struct stats_upstream *stats; /* core's; NULL until it has the snapshot */
};

struct service {
    const struct service_config *config;
    struct listen_at *listeners;
    size_t listener_count;
    struct upstream *upstreams;
    size_t upstream_count;
    struct net_cidr *allow_from, *deny_from; /* as many as the config has */
    struct net_cidr *proxy_from;             /* the same */
    struct net_cidr *allow_upstreams;        /* the same */
    unsigned send_proxy_tlvs;                /* enum proxy_tlv */
    struct sock_settings connect_sock, listen_sock;
    unsigned *allow_uid, *allow_gid;    /* the same */
    struct tls_name *names;             /* of all upstreams */
    struct proxy *proxy;                /* NULL: none */
    struct tls_profile *upstream_tls;   /* NULL: no tls:// upstream */
    struct tls_profile *downstream_tls; /* NULL: no tls:// listener */
    struct stats_service *stats;        /* core's; NULL until it has the snapshot */
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
 * contexts made. NULL: err names the option and the file; *config is still the caller's.
 * workers: how many the process runs with already, whatever *config says; 0: none runs yet. */
struct snapshot *snapshot_create(struct config *config, unsigned workers,
                                 struct error *err) WARN_UNUSED;
struct snapshot *snapshot_ref(struct snapshot *s);
/* Any thread; the last one frees. NULLs *s. */
void snapshot_unref(struct snapshot **s);
/* `esclusa check`: what would run, a block a service with its settings, listeners and
 * certificates, to out, in the config's check_format. */
void snapshot_print(const struct snapshot *s, FILE *out);

/* The one sentence about a listener that the start-up log and `esclusa check` show:
 * "tcp://127.0.0.1:8080 -> tls://host:443 verified as host against system store". Cut at size. */
void service_describe(const struct service *service, const struct listen_at *listener, char *dst,
                      size_t size);
#define SERVICE_TEXT_MAX 2048

/* Tells each difference between two snapshots: the service (NULL: a global setting) and what
 * changed ("added", "removed", "idle_timeout: 1h -> 2h", "certificate: ..."). Also while sessions
 * run on the older one. */
void snapshot_diff(const struct snapshot *before, const struct snapshot *after,
                   void (*tell)(void *context, const char *service, const char *change),
                   void *context);

/* Tells what of after verifies less than before did (settings by the table's `weaker`; a tls://
 * upstream or listener that became plain). True: something does. */
bool snapshot_weakens(const struct snapshot *before, const struct snapshot *after,
                      void (*tell)(void *context, const char *service, const char *change),
                      void *context);

/* Every file and directory that the configuration was read from, or names: for the watch. Paths
 * live during the call. */
void config_paths(const struct config *c, void (*tell)(void *context, const char *path),
                  void *context);

/* Every path that is made, written anew or removed while it runs: those of unix listeners, and what
 * rows with `written` name ("unix:/path" or "/path"). Paths live during the call. */
void config_written_paths(const struct config *c,
                          void (*tell)(void *context, const char *path, bool is_socket),
                          void *context);

/* CPUs this process may use: sched_getaffinity(2) and the cgroup's CPU quota, rounded up; >= 1. */
unsigned cpu_allowance(void);

#endif
