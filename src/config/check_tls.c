/* What may not be combined in the TLS settings of one service, and what their texts must look like.
 * What nothing would use is use.c's. No file is read here. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <string.h>

static bool complain(struct error *err, const struct service_config *s, const char *name,
                     const char *value, const char *sentence, const char *other)
{
    return config_complain(err, service_origin(s, name), name, value, sentence, other);
}

/* As complain(), for what concerns this service though it may stand in `defaults`. */
static bool complain_here(struct error *err, const struct service_config *s, const char *name,
                          const char *value, const char *sentence)
{
    const struct origin *at = service_origin(s, name);
    return config_complain(err, at->shared ? &s->at : at, name, value, sentence, NULL);
}

/* ---- certificates and keys ---- */

static bool check_upstream_cert(const struct service_config *s, struct error *err)
{
    return s->key == NULL || s->cert != NULL ||
           complain(err, s, "key", NULL,
                    "given without {cert}; give the client certificate that it belongs to: "
                    "{cert=FILE}",
                    NULL);
}

static bool check_listen_certs(const struct service_config *s, struct error *err)
{
    const size_t certs = s->listen_cert.count;
    const size_t keys = s->listen_key.count;
    if (certs == 0) {
        return complain(err, s, "listen_cert", NULL,
                        "missing, and a tls:// listener needs it; give the certificate chain: "
                        "{listen_cert=FILE}",
                        NULL);
    }
    if (keys == 0 || keys == certs) {
        return true;
    }
    char counts[64];
    size_t length = 0;
    (void)str_append(counts, sizeof(counts), &length, "%zu given for %zu", keys, certs);
    return complain(err, s, "listen_key", NULL,
                    "{} {listen_cert}; give one for each, in their order, or none where the files "
                    "of the certificates hold them",
                    counts);
}

/* The value is never shown: who misunderstood wrote the passphrase itself. */
static bool check_passphrase(const struct service_config *s, const char *name, const char *value,
                             struct error *err)
{
    if (value == NULL || (strncmp(value, "file:", 5) == 0 && value[5] != '\0') ||
        (strncmp(value, "env:", 4) == 0 && value[4] != '\0' && strchr(value, '=') == NULL)) {
        return true;
    }
    return complain(err, s, name, NULL,
                    "says no place; give file:PATH or env:NAME, where the passphrase is, and never "
                    "the passphrase itself",
                    NULL);
}

/* ---- names ---- */

static bool check_verify_names(const struct service_config *s, struct error *err)
{
    for (size_t i = 0; i < s->verify_names.count; i++) {
        struct tls_name name;
        struct error reason;
        error_init(&reason);
        if (!tls_name_set(&name, s->verify_names.items[i], &reason)) {
            return config_blame(err, service_origin(s, "verify_names"), "verify_names", &reason);
        }
    }
    return true;
}

/* ---- consumers ---- */

static bool check_listen_client(const struct service_config *s, struct error *err)
{
    const bool has_ca = s->listen_ca != NULL || s->listen_ca_dir != NULL;
    if (has_ca || s->listen_client == TLS_CLIENT_AUTO || s->listen_client == TLS_CLIENT_NONE) {
        return true;
    }
    return complain_here(err, s, "listen_client",
                         s->listen_client == TLS_CLIENT_REQUIRED ? "required" : "optional",
                         "given without {listen_ca}; give the CA of consumers' certificates: "
                         "{listen_ca=FILE}");
}

/* What `defaults` says of other options is for who has a use for it. Of these, that would open a
 * service to everybody whom its author believed to be checked. */
static bool check_shared_guards(const struct service_config *s, struct error *err)
{
    static const char *const guards[] = {"listen_allow_cn",  "listen_allow_ou",  "listen_allow_dns",
                                         "listen_allow_uri", "listen_allow_pin", "listen_crl",
                                         "listen_crl_dir"};
    if (s->listen_client != TLS_CLIENT_AUTO || listen_client(s) != TLS_CLIENT_NONE) {
        return true;
    }
    for (size_t i = 0; i < sizeof(guards) / sizeof(guards[0]); i++) {
        const struct origin *at = service_origin(s, guards[i]);
        if (at != &s->at && at->shared) {
            return complain_here(err, s, guards[i], NULL,
                                 "stands in defaults and would check nobody here, as consumers "
                                 "are asked for no certificate; give {listen_ca=FILE}, or "
                                 "{listen_client=none} where everybody may connect");
        }
    }
    return true;
}

/* ---- versions ---- */

static bool check_versions(const struct service_config *s, const char *min_name,
                           const char *max_name, int64_t min, int64_t max, struct error *err)
{
    if (min != TLS_1_3 || max != TLS_1_2) {
        return true;
    }
    /* Of the two, the one that is this service's own. */
    const bool max_is_own = service_origin(s, min_name)->shared;
    char sentence[256];
    size_t length = 0;
    (void)str_append(sentence, sizeof(sentence), &length,
                     "%s {%s} '%s'; give a {%s} of 1.3 or leave one of them out",
                     max_is_own ? "below" : "above", max_is_own ? min_name : max_name,
                     max_is_own ? "1.3" : "1.2", max_name);
    return max_is_own ? complain(err, s, max_name, "1.2", sentence, NULL)
                      : complain(err, s, min_name, "1.3", sentence, NULL);
}

static bool check_listen_versions(const struct service_config *s, struct error *err)
{
    return check_versions(s, s->listen_tls_min != TLS_NEWEST ? "listen_tls_min" : "tls_min",
                          s->listen_tls_max != TLS_NEWEST ? "listen_tls_max" : "tls_max",
                          listen_tls_min(s), listen_tls_max(s), err);
}

bool check_tls(const struct service_config *s, bool listen_tls, bool connect_tls, struct error *err)
{
    if (listen_tls &&
        (!check_listen_certs(s, err) ||
         !check_passphrase(s, "listen_key_passphrase", s->listen_key_passphrase, err) ||
         !check_listen_client(s, err) || !check_shared_guards(s, err))) {
        return false;
    }
    if (connect_tls && (!check_upstream_cert(s, err) ||
                        !check_passphrase(s, "key_passphrase", s->key_passphrase, err) ||
                        !check_verify_names(s, err) ||
                        !check_versions(s, "tls_min", "tls_max", s->tls_min, s->tls_max, err))) {
        return false;
    }
    return !listen_tls || check_listen_versions(s, err);
}
