/* Private to src/config and its tests. */
#ifndef ESCLUSA_CONFIG_INTERNAL_H
#define ESCLUSA_CONFIG_INTERNAL_H

#include <esclusa/config.h>

/* "--half-closed-timeout" and the like. */
#define OPTION_FLAG_MAX 48

/* The value as it may stand in an error text: in quotes, escaped, cut when very long. */
#define QUOTE_SHOWN 160
#define QUOTE_MAX   (4 * QUOTE_SHOWN + 8)
void config_quote(char *dst, size_t size, const char *value);

/* The struct that a row's offset counts from. */
void *config_base_of(struct config *c, const struct option_row *row);

/* Zero but for the defaults of the table and the name, a copy; false: nothing is left to free. */
bool service_config_set_up(struct service_config *s, const char *name,
                           struct error *err) WARN_UNUSED;
void service_config_fini(struct service_config *s);
/* Empties a list, as a service's own replaces that of `defaults`. */
void text_list_clear(struct text_list *list);
bool text_list_add(struct text_list *list, const char *value, struct error *err) WARN_UNUSED;

/* ---- complain.c: one wording for the command line and the file ---- */

/* "--tls-min", or "esclusa.cfg:12: tls_min". name: of a row, or another word of the file; NULL: the
 * place alone ("esclusa.cfg:12"). */
void config_place(char *dst, size_t size, const struct origin *at, const char *name);
/* Sets "PLACE 'VALUE': SENTENCE" (value NULL: without). In the sentence {tls_max} becomes that
 * option as the user writes it ("--tls-max", "tls_max"), {tls_max=1.3} its assignment
 * ("--tls-max 1.3", tls_max = "1.3"), and {} other as it is. Returns false. */
bool config_complain(struct error *err, const struct origin *at, const char *name,
                     const char *value, const char *sentence, const char *other);
/* The same from a reason as option_store() gives it: "'x': ..." or a mere sentence. */
bool config_blame(struct error *err, const struct origin *at, const char *name,
                  const struct error *reason);

/* "Did you mean": the likeliest of the words shown to it. */
struct guess {
    const char *typed;
    char word[OPTION_FLAG_MAX]; /* "" when nothing is like it */
    size_t distance;
};
/* letters: of typed that count; a word of less than three is like nothing. */
void guess_begin(struct guess *g, const char *typed, size_t letters);
void guess_consider(struct guess *g, const char *word);

/* ---- check.c ---- */

/* What may not be combined, whoever wrote it; addresses and names. */
bool config_check(const struct config *c, struct error *err) WARN_UNUSED;
/* check_tls.c: the part of it that is about TLS, of one service. */
bool check_tls(const struct service_config *s, bool listen_tls, bool connect_tls,
               struct error *err) WARN_UNUSED;

/* proxy.c: http://, https:// or socks5://HOST:PORT. */
bool proxy_parse(struct proxy_at *p, const char *text, struct error *err) WARN_UNUSED;
/* "user:password", the first line of the file; one that everybody may read is refused. */
bool proxy_read_credentials(struct proxy *p, const char *path, struct error *err) WARN_UNUSED;
void proxy_free(struct proxy **p); /* NULLs *p; nothing for NULL */
/* check_way.c: the way to a service's upstreams (connect_count of them): proxy and starttls. */
bool check_way(const struct service_config *s, const struct net_endpoint *connect,
               struct error *err) WARN_UNUSED;

/* shares.c: weights, backups and ejection of a service's upstreams. */
bool check_shares(const struct service_config *c, struct error *err) WARN_UNUSED;
void config_shares(struct service *service); /* one that was checked, with its upstreams */

/* check_dns.c: who looks up names. */
bool check_dns(const struct config *c, struct error *err) WARN_UNUSED;

/* ---- proxy_tlvs.c ---- */

/* enum proxy_tlv. */
bool config_tlvs(const struct text_list *list, unsigned *bits_r, struct error *err) WARN_UNUSED;

/* ---- sockets.c ---- */

/* Texts are the service's. The error has its place. */
bool config_sockets(const struct service_config *c, struct sock_settings *up,
                    struct sock_settings *down, struct error *err) WARN_UNUSED;

/* ---- ids.c ---- */

/* A user, or a group, by number or by name. Looks names up: not on a loop that serves. */
bool config_id(const char *text, bool group, unsigned *id_r, struct error *err) WARN_UNUSED;

/* ---- use.c ---- */

/* Of no use to a service with such listeners and upstreams (listen_tls: a tls:// one at least): why
 * and what would do, for config_complain(); NULL: it is used. The first asks no more than whether
 * the side is there that the row is for. */
const char *option_side_missing(const struct option_row *row, bool listen_tls, bool connect_tls);
const char *option_idle(const struct service_config *s, const struct option_row *row,
                        bool listen_tls, bool connect_tls);
/* Of a tls:// listener, with what stands for "not given" resolved: never TLS_CLIENT_AUTO. */
enum tls_client_auth listen_client(const struct service_config *s);
enum tls_version listen_tls_min(const struct service_config *s);
enum tls_version listen_tls_max(const struct service_config *s);

/* ---- table ---- */

/* "1ms to 365d", "1 to 256", "1.2 or 1.3"; "" where any text will do. */
void option_range(const struct option_row *row, char *dst, size_t size);
/* "duration", "one of"; "service, defaults, command line". */
const char *option_type_word(const struct option_row *row);
const char *option_place_word(const struct option_row *row);
const struct origin *service_origin(const struct service_config *s, const char *name);
/* Values of a row in two structs of its scope. */
bool option_equal(const struct option_row *row, const void *a, const void *b);
/* As option_format(), for a sentence: "none" for none, and "..." at the end of one that was cut. */
void option_show(const struct option_row *row, const void *base, char *dst, size_t size);
/* The row's list or text in the struct at base; NULL: of another type, or not given. */
const struct text_list *option_list(const struct option_row *row, const void *base);
const char *option_text(const struct option_row *row, const void *base);
int64_t option_number(const struct option_row *row, const void *base);

/* NULL: no row has that name ("connect_timeout") or flag ("--connect-timeout", "-l"). */
const struct option_row *option_by_name(const char *name);
const struct option_row *option_by_flag(const char *flag);

/* NULL: none has that name. */
const struct service *snapshot_service(const struct snapshot *s, const char *name);
/* The SNI of a tls:// upstream: server_name if there is one, else its host. */
bool upstream_server_name(struct tls_name *name, const struct service_config *s,
                          const struct net_endpoint *at, struct error *err) WARN_UNUSED;
/* cpu_allowance() with /proc and /sys looked up below root ("" for the real ones), and affinity as
 * the CPUs of sched_getaffinity(2). */
unsigned cpu_allowance_below(const char *root, unsigned affinity);

#endif
