/* What the user calls a setting, for errors and remedies. */
#include "tls_internal.h"

#include <esclusa/str.h>

/* Name of the setting of an upstream; a listener's has "listen" before it. */
#define SETTINGS(X)                                                                                \
    X("ca", "ca")                                                                                  \
    X("ca_dir", "ca-dir")                                                                          \
    X("crl", "crl")                                                                                \
    X("crl_dir", "crl-dir")                                                                        \
    X("cert", "cert")                                                                              \
    X("key", "key")                                                                                \
    X("key_passphrase", "key-passphrase")                                                          \
    X("pins", "pins")                                                                              \
    X("groups", "groups")                                                                          \
    X("ciphers", "ciphers")                                                                        \
    X("ciphersuites", "ciphersuites")                                                              \
    X("sigalgs", "sigalgs")                                                                        \
    X("security_level", "security-level")                                                          \
    X("alpn", "alpn")                                                                              \
    X("sni_strict", "sni-strict")                                                                  \
    X("ocsp", "ocsp")                                                                              \
    X("tlsa", "tlsa")                                                                              \
    X("server_name", "server-name")                                                                \
    X("verify_names", "verify-names")                                                              \
    X("x509_strict", "x509-strict")                                                                \
    X("client", "client")                                                                          \
    X("allow_cn", "allow-cn")                                                                      \
    X("allow_ou", "allow-ou")                                                                      \
    X("allow_dns", "allow-dns")                                                                    \
    X("allow_uri", "allow-uri")                                                                    \
    X("allow_pin", "allow-pin")                                                                    \
    X("ticket_keys", "ticket-keys")                                                                \
    X("tls_min", "tls-min")                                                                        \
    X("tls_max", "tls-max")                                                                        \
    X("connect", "connect")

static const struct row {
    const char *name;
    const char *words[2][2]; /* by side: upstream, downstream; by place: command line, file */
} rows[] = {
#define ROW(name, dashed) {name, {{"--" dashed, name}, {"--listen-" dashed, "listen_" name}}},
    SETTINGS(ROW)
#undef ROW
};

const char *tls_word(enum tls_role role, bool of_file, const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (str_equal(rows[i].name, name))
            return rows[i].words[role == TLS_DOWNSTREAM][of_file];
    return NULL;
}
