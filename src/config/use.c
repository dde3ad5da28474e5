/* Which options a service has a use for. One that nothing would use is a misunderstanding, and
 * often one about security: it is refused where it was given (check.c), and is neither shown
 * (print.c) nor compared (weaker.c). */
#include <esclusa/config.h>

#include "config_internal.h"

#include <string.h>
#include <strings.h>

/* ---- why one is of no use, beside what row->use says ---- */

static bool is_unverified(const struct service_config *s)
{
    return s->insecure_skip_verify != 0;
}

static bool has_no_cert(const struct service_config *s)
{
    return s->cert == NULL;
}

static bool has_no_pins(const struct service_config *s)
{
    return s->pins.count == 0;
}

static bool asks_no_revocation(const struct service_config *s)
{
    return s->ocsp == TLS_OCSP_OFF && s->crl == NULL && s->crl_dir == NULL;
}

static bool never_resumes(const struct service_config *s)
{
    return s->resumption == 0;
}

/* TLS 1.3 and older versions have ciphers of their own: RFC 8446 B.4. */
static bool is_never_12(const struct service_config *s)
{
    return s->tls_min == TLS_1_3;
}

static bool is_never_13(const struct service_config *s)
{
    return s->tls_max == TLS_1_2;
}

static bool listens_never_12(const struct service_config *s)
{
    return listen_tls_min(s) == TLS_1_3;
}

static bool listens_never_13(const struct service_config *s)
{
    return listen_tls_max(s) == TLS_1_2;
}

static bool wants_no_consumer(const struct service_config *s)
{
    return s->listen_client == TLS_CLIENT_NONE;
}

static bool asks_no_consumer(const struct service_config *s)
{
    return listen_client(s) == TLS_CLIENT_NONE;
}

static bool gives_no_tickets(const struct service_config *s)
{
    return s->listen_tickets == 0;
}

static bool accepts_no_proxy(const struct service_config *s)
{
    return s->accept_proxy == ACCEPT_PROXY_OFF;
}

static bool forbids_none(const struct service_config *s)
{
    return s->forbid_private_upstreams == 0;
}

static bool sends_no_tlvs(const struct service_config *s)
{
    return s->send_proxy != SEND_PROXY_V2;
}

static bool asks_for_tls(const struct service_config *s)
{
    return s->starttls != 0;
}

static bool keeps_none_warm(const struct service_config *s)
{
    return s->warm_min == 0;
}

static bool has_one_upstream(const struct service_config *s)
{
    return s->connect.count == 1;
}

static bool goes_in_order(const struct service_config *s)
{
    return s->balance == BALANCE_FAILOVER;
}

static bool never_ejects(const struct service_config *s)
{
    return s->eject_after == 0;
}

static bool makes_no_checks(const struct service_config *s)
{
    return s->check == CHECK_OFF;
}

/* Nothing that could have several addresses. */
static bool has_no_name(const struct service_config *s)
{
    struct net_endpoint to;
    struct net_addr unused;
    struct error err;
    error_init(&err);
    for (size_t i = 0; i < s->connect.count && s->proxy == NULL; i++) {
        if (net_endpoint_parse(&to, s->connect.items[i], NET_CONNECT, &err) &&
            to.scheme != NET_UNIX && !net_addr_from_literal(&unused, to.host, to.port))
            return false;
    }
    return s->proxy == NULL;
}

static bool has_one_address(const struct service_config *s)
{
    return has_one_upstream(s) && has_no_name(s);
}

static bool has_no_proxy(const struct service_config *s)
{
    return s->proxy == NULL;
}

static bool has_no_tls_proxy(const struct service_config *s)
{
    return s->proxy == NULL || strncasecmp(s->proxy, "https://", 8) != 0;
}

static bool takes_ticket_keys(const struct service_config *s)
{
    return s->listen_ticket_keys != NULL;
}

#define UNVERIFIED                                                                                 \
    is_unverified, "would not be used, as {insecure_skip_verify} is true; leave one of them out"
#define NO_CERT has_no_cert, "would not be used without {cert}; give {cert=FILE} or leave it out"
#define NEVER_12(which, min)                                                                       \
    which, "would not be used, as it is for TLS 1.2 and {" min "} is 1.3; leave one of them out"
#define NEVER_13(which, max)                                                                       \
    which, "would not be used, as it is for TLS 1.3 and {" max "} is 1.2; leave one of them out"
#define NOT_WANTED                                                                                 \
    wants_no_consumer, "would not be used, as {listen_client} is 'none'; leave one of them out"
#define NOT_ASKED                                                                                  \
    asks_no_consumer, "would check nobody, as consumers are asked for no certificate; give the "   \
                      "CA of theirs: {listen_ca=FILE}"
#define ALONE                                                                                      \
    has_one_upstream, "would not be used, as there is one {connect}; give others or leave it out"
#define NEVER_EJECTS                                                                               \
    never_ejects, "would not be used, as {eject_after} is 0; raise that or leave it out"
#define NO_NAME                                                                                    \
    has_no_name, "would not be used, as no {connect} is a name that could have several "           \
                 "addresses; leave it out"
#define NO_CHECKS                                                                                  \
    makes_no_checks, "would not be used, as {check} is 'off'; give {check=tls} or leave it out"
#define NONE_WARM                                                                                  \
    keeps_none_warm, "would not be used, as {warm_min} is 0; raise that or leave it out"
#define NO_PROXY                                                                                   \
    accepts_no_proxy, "would not be used, as {accept_proxy} is 'off'; give {accept_proxy=any} or " \
                      "leave it out"
#define NO_TICKETS                                                                                 \
    gives_no_tickets, "would not be used, as {listen_tickets} is false; leave one of them out"

/* The first that applies is told. */
static const struct idle_rule {
    const char *name;
    bool (*is_idle)(const struct service_config *s);
    const char *sentence;
} idle_rules[] = {
    /* `ca` and `server_name` may stay, so that breaking the glass is one line more. */
    {"verify_names", UNVERIFIED},
    {"names_policy", UNVERIFIED},
    {"x509_strict", UNVERIFIED},
    {"pins", UNVERIFIED},
    {"pins_policy", UNVERIFIED},
    {"pins_policy", has_no_pins,
     "would not be used without {pins}; give {pins=sha256//BASE64} or leave it out"},
    {"crl", UNVERIFIED},
    {"crl_dir", UNVERIFIED},
    {"ocsp", UNVERIFIED},
    {"revocation_policy", UNVERIFIED},
    {"revocation_policy", asks_no_revocation,
     "would not be used, as {ocsp} is 'off' and there is no {crl}; give {crl=FILE} or leave it "
     "out"},
    {"tlsa", UNVERIFIED},
    {"on_revoked", UNVERIFIED},
    {"key_passphrase", NO_CERT},
    {"resumption_age", never_resumes,
     "would not be used, as {resumption} is false; leave one of them out"},
    {"balance", ALONE},
    {"weights", ALONE},
    {"weights", goes_in_order,
     "would not be used, as {balance} is 'failover'; give {balance=round_robin} or leave it out"},
    {"backups", ALONE},
    {"eject_after", ALONE},
    {"eject_time", ALONE},
    {"eject_time", NEVER_EJECTS},
    {"eject_max", ALONE},
    {"eject_max", NEVER_EJECTS},
    {"race", NO_NAME},
    {"race_delay", NO_NAME},
    {"failover_on_verify", has_one_address,
     "would not be used, as there is one {connect} with one address; give others or leave it out"},
    {"check_interval", NO_CHECKS},
    {"check_fall", NO_CHECKS},
    {"check_rise", NO_CHECKS},
    {"warm_max", NONE_WARM},
    {"warm_max_idle", NONE_WARM},
    {"proxy_credentials", has_no_proxy,
     "would not be used without {proxy}; give {proxy=http://HOST:PORT} or leave it out"},
    {"proxy_ca", has_no_tls_proxy,
     "would not be used, as {proxy} is not https://; leave one of them out"},
    {"proxy_server_name", has_no_tls_proxy,
     "would not be used, as {proxy} is not https://; leave one of them out"},
    {"tcp_fast_open", asks_for_tls,
     "would wait for ever, as it connects with the first byte to send and an upstream with "
     "{starttls} may speak first; leave one of them out"},
    {"allow_upstreams", forbids_none,
     "would not be used, as {forbid_private_upstreams} is false; set that to true or leave it out"},
    {"send_proxy_tlvs", sends_no_tlvs,
     "would not be used, as {send_proxy} is not 'v2'; give {send_proxy=v2} or leave it out"},
    {"proxy_from", NO_PROXY},
    {"accept_proxy_timeout", NO_PROXY},
    {"ciphers", NEVER_12(is_never_12, "tls_min")},
    {"ciphersuites", NEVER_13(is_never_13, "tls_max")},
    {"listen_ciphers", NEVER_12(listens_never_12, "listen_tls_min} or {tls_min")},
    {"listen_ciphersuites", NEVER_13(listens_never_13, "listen_tls_max} or {tls_max")},
    {"listen_ca", NOT_WANTED},
    {"listen_ca_dir", NOT_WANTED},
    {"listen_allow_cn", NOT_WANTED},
    {"listen_allow_cn", NOT_ASKED},
    {"listen_allow_ou", NOT_WANTED},
    {"listen_allow_ou", NOT_ASKED},
    {"listen_allow_dns", NOT_WANTED},
    {"listen_allow_dns", NOT_ASKED},
    {"listen_allow_uri", NOT_WANTED},
    {"listen_allow_uri", NOT_ASKED},
    {"listen_allow_pin", NOT_WANTED},
    {"listen_allow_pin", NOT_ASKED},
    {"listen_crl", NOT_WANTED},
    {"listen_crl", NOT_ASKED},
    {"listen_crl_dir", NOT_WANTED},
    {"listen_crl_dir", NOT_ASKED},
    {"listen_ticket_keys", NO_TICKETS},
    {"listen_ticket_rotation", NO_TICKETS},
    {"listen_ticket_rotation", takes_ticket_keys,
     "would not be used, as the keys of {listen_ticket_keys} change when its file does; leave one "
     "of them out"},
};

#define IDLE_RULES (sizeof(idle_rules) / sizeof(idle_rules[0]))

/* ---- ask ---- */

const char *option_side_missing(const struct option_row *row, bool listen_tls, bool connect_tls)
{
    switch (row->use) {
    case USE_ALWAYS:
        return NULL;
    case USE_TLS_UPSTREAM:
        return connect_tls ? NULL
                           : "would not be used, as no {connect} is tls://; write "
                             "{connect=tls://HOST:PORT} or leave it out";
    case USE_TLS_LISTENER:
        return listen_tls ? NULL
                          : "would not be used, as no {listen} is tls://; write "
                            "{listen=tls://HOST:PORT} or leave it out";
    case USE_ANY_TLS:
        break;
    }
    return listen_tls || connect_tls ? NULL
                                     : "would not be used, as neither {listen} nor {connect} is "
                                       "tls://; leave it out";
}

/* Of tls_min and tls_max, where listeners have their own. */
static const char *both_sides_idle(const struct service_config *s, const struct option_row *row,
                                   bool connect_tls)
{
    if (connect_tls || row->use != USE_ANY_TLS) {
        return NULL;
    }
    if (strcmp(row->name, "tls_min") == 0 && s->listen_tls_min != TLS_NEWEST) {
        return "would not be used, as no {connect} is tls:// and {listen_tls_min} is given; leave "
               "one of them out";
    }
    if (strcmp(row->name, "tls_max") == 0 && s->listen_tls_max != TLS_NEWEST) {
        return "would not be used, as no {connect} is tls:// and {listen_tls_max} is given; leave "
               "one of them out";
    }
    return NULL;
}

const char *option_idle(const struct service_config *s, const struct option_row *row,
                        bool listen_tls, bool connect_tls)
{
    const char *reason = option_side_missing(row, listen_tls, connect_tls);
    if (reason != NULL) {
        return reason;
    }
    for (size_t i = 0; i < IDLE_RULES; i++) {
        if (strcmp(idle_rules[i].name, row->name) == 0 && idle_rules[i].is_idle(s)) {
            return idle_rules[i].sentence;
        }
    }
    return both_sides_idle(s, row, connect_tls);
}

/* ---- what stands for what ---- */

enum tls_client_auth listen_client(const struct service_config *s)
{
    if (s->listen_client != TLS_CLIENT_AUTO) {
        return (enum tls_client_auth)s->listen_client;
    }
    return s->listen_ca != NULL || s->listen_ca_dir != NULL ? TLS_CLIENT_REQUIRED : TLS_CLIENT_NONE;
}

enum tls_version listen_tls_min(const struct service_config *s)
{
    return (enum tls_version)(s->listen_tls_min != TLS_NEWEST ? s->listen_tls_min : s->tls_min);
}

enum tls_version listen_tls_max(const struct service_config *s)
{
    return (enum tls_version)(s->listen_tls_max != TLS_NEWEST ? s->listen_tls_max : s->tls_max);
}
