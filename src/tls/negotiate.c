/* What a handshake may agree on, and what it did. */
#include "negotiate.h"
#include "refuse.h"

#include <esclusa/str.h>

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/opensslv.h>
#include <stdlib.h>
#include <string.h>

#define ALPN_NAME_MAX  255   /* RFC 7301 3.1 */
#define ALPN_TOTAL_MAX 65535 /* the length of the list has two bytes */
#define ENTRY_MAX      256

/* ---- lists in OpenSSL's own syntax ---- */

typedef int list_setter(SSL_CTX *ctx, const char *list);

/* OpenSSL's macros take no const; the list is only read. */
static char *writable(const char *list)
{
    const union {
        const char *in;
        char *out;
    } text = {.in = list};
    return text.out;
}

static int set_groups(SSL_CTX *ctx, const char *list)
{
    return (int)SSL_CTX_set1_groups_list(ctx, writable(list));
}

static int set_sigalgs(SSL_CTX *ctx, const char *list)
{
    return (int)SSL_CTX_set1_sigalgs_list(ctx, writable(list));
}

struct list_kind {
    const char *word;
    const char *separators;
    const char *prefixes;  /* before an entry, not of its name */
    const char *operators; /* an entry that begins so takes away or orders: it may match nothing */
    const char *noun;
    list_setter *set;
    bool lenient; /* OpenSSL passes over what it does not know */
};

/* OpenSSL 3.5: "?X25519MLKEM768:*X25519/P-256"; what it ignores on purpose has a '?'. */
static const struct list_kind groups_kind = {
    .word = "groups",
    .separators = ":/",
    .prefixes = "*",
    .operators = "?-",
    .noun = "key exchange group",
    .set = set_groups,
};
static const struct list_kind ciphers_kind = {
    .word = "ciphers",
    .separators = ":, ",
    .prefixes = "",
    .operators = "!-+@",
    .noun = "TLS 1.2 cipher (those of TLS 1.3 are ciphersuites)",
    .set = SSL_CTX_set_cipher_list,
    .lenient = true,
};
static const struct list_kind ciphersuites_kind = {
    .word = "ciphersuites",
    .separators = ":",
    .prefixes = "",
    .operators = "",
    .noun = "TLS 1.3 ciphersuite",
    .set = SSL_CTX_set_ciphersuites,
    .lenient = true,
};
static const struct list_kind sigalgs_kind = {
    .word = "sigalgs",
    .separators = ":",
    .prefixes = "",
    .operators = "?",
    .noun = "signature algorithm",
    .set = set_sigalgs,
};

/* "OpenSSL 3.0.22" without the date. */
static int version_length(void)
{
    const char *version = tls_library_version();
    const char *space = strchr(version, ' ');
    return space == NULL ? (int)strlen(version)
                         : (int)((size_t)(space - version) + 1 + strcspn(space + 1, " "));
}

/* Tries entry by entry on a context of its own. True: the error names one that does not work. */
static bool find_unknown(const struct list_kind *kind, const char *word, const char *list,
                         struct error *err)
{
    char entry[ENTRY_MAX];
    bool found = false;
    SSL_CTX *trial = SSL_CTX_new(TLS_method());
    if (trial == NULL)
        return false;
    for (const char *p = list; !found && *p != '\0';) {
        size_t length = strcspn(p, kind->separators);
        const char *name = p;
        size_t size = length;
        p += length + (p[length] != '\0' ? 1 : 0);
        for (; size > 0 && strchr(kind->prefixes, *name) != NULL; size--)
            name++;
        if (size == 0 || size >= sizeof entry || strchr(kind->operators, *name) != NULL)
            continue;
        (void)str_copy(entry, size + 1, name);
        found = kind->set(trial, entry) != 1;
    }
    SSL_CTX_free(trial);
    ERR_clear_error();
    if (found)
        (void)error_set(err, "%s '%s': '%s' is no %s of %.*s", word, list, entry, kind->noun,
                        version_length(), tls_library_version());
    return found;
}

/* text: what is set in ctx; list: what the user wrote. */
static bool set_list(SSL_CTX *ctx, const struct list_kind *kind, const struct tls_settings *s,
                     const char *list, const char *text, struct error *err)
{
    const char *word = tls_word(s->role, s->words_of_file, kind->word);
    if (list[strspn(list, kind->separators)] == '\0')
        return error_set(err, "%s: the list is empty", word);
    if (kind->lenient && find_unknown(kind, word, list, err))
        return false;
    ERR_clear_error();
    if (kind->set(ctx, text) == 1)
        return true;
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    ERR_clear_error();
    if (find_unknown(kind, word, list, err))
        return false;
    return error_set(err, "%s '%s': OpenSSL does not take this list: %s", word, list,
                     reason != NULL ? reason : "is an entry in it twice?");
}

/* ---- ciphers ---- */

static bool set_ciphers(SSL_CTX *ctx, const struct tls_settings *s, struct error *err)
{
    const char *word = tls_word(s->role, s->words_of_file, "ciphers");
    if (s->ciphers == NULL)
        return true;
    if (s->min == TLS_1_3)
        return error_set(err,
                         "%s: these are for TLS 1.2, which %s 1.3 leaves out: take one of the two "
                         "away",
                         word, tls_word(s->role, s->words_of_file, "tls_min"));
    if (strstr(s->ciphers, "@SECLEVEL") != NULL)
        return error_set(err, "%s '%s': leave @SECLEVEL out and give %s", word, s->ciphers,
                         tls_word(s->role, s->words_of_file, "security_level"));
    /* Without authentication nobody is verified, and without encryption it is no TLS: at security
     * level 0 "ALL" and "eNULL" would let them in. */
    char *list = NULL;
    if (asprintf(&list, "%s:!aNULL:!eNULL", s->ciphers) < 0)
        return error_set(err, "TLS: no memory");
    bool done = set_list(ctx, &ciphers_kind, s, s->ciphers, list, err);
    free(list);
    return done;
}

/* What ctx would offer of TLS 1.3, in its order. */
static void list_ciphersuites(SSL_CTX *ctx, char *dst, size_t size)
{
    const STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(ctx);
    size_t length = 0;
    dst[0] = '\0';
    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
        if (strcmp(SSL_CIPHER_get_version(cipher), "TLSv1.3") == 0)
            (void)str_append(dst, size, &length, "%s%s", length > 0 ? ":" : "",
                             SSL_CIPHER_get_name(cipher));
    }
}

/* Upstreams are offered the suite that every one must have (RFC 8446 9.1) first: it costs a tenth
 * less than OpenSSL's first, TLS_AES_256_GCM_SHA384 (docs/performance.md). Only where nobody has
 * chosen an order: that of the machine's openssl.cnf stays. */
static bool prefer_aes128(SSL_CTX *ctx, const struct tls_settings *s, struct error *err)
{
    static const char ours[] =
        "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
    char now[256];
    if (s->role != TLS_UPSTREAM)
        return true;
    list_ciphersuites(ctx, now, sizeof now);
    if (strcmp(now, OSSL_default_ciphersuites()) != 0 || SSL_CTX_set_ciphersuites(ctx, ours) == 1)
        return true;
    return error_set(err, "TLS: ciphersuites: %s", tls_openssl_reason());
}

static bool set_ciphersuites(SSL_CTX *ctx, const struct tls_settings *s, struct error *err)
{
    if (s->ciphersuites == NULL)
        return prefer_aes128(ctx, s, err);
    if (s->max == TLS_1_2)
        return error_set(err,
                         "%s: these are for TLS 1.3, which %s 1.2 leaves out: take one of the two "
                         "away",
                         tls_word(s->role, s->words_of_file, "ciphersuites"),
                         tls_word(s->role, s->words_of_file, "tls_max"));
    return set_list(ctx, &ciphersuites_kind, s, s->ciphersuites, s->ciphersuites, err);
}

/* Also those of openssl.cnf; TLS 1.3 has suites without encryption since RFC 9150. */
static bool check_ciphers(SSL_CTX *ctx, const struct tls_settings *s, struct error *err)
{
    const STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(ctx);
    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
        if (SSL_CIPHER_get_cipher_nid(cipher) != NID_undef &&
            SSL_CIPHER_get_auth_nid(cipher) != NID_auth_null)
            continue;
        bool tls13 = strcmp(SSL_CIPHER_get_version(cipher), "TLSv1.3") == 0;
        const char *word = tls_word(s->role, s->words_of_file, tls13 ? "ciphersuites" : "ciphers");
        return error_set(err, "%s: '%s' has no encryption or no authentication: leave it out", word,
                         SSL_CIPHER_get_name(cipher));
    }
    return true;
}

/* ---- versions ---- */

static int version_number(enum tls_version version, int newest)
{
    switch (version) {
    case TLS_1_2:
        return TLS1_2_VERSION;
    case TLS_1_3:
        return TLS1_3_VERSION;
    case TLS_NEWEST:
        break;
    }
    return newest;
}

static bool set_versions(SSL_CTX *ctx, const struct tls_settings *s, struct error *err)
{
    int min = version_number(s->min, TLS1_2_VERSION);
    int max = version_number(s->max, 0);
    if (max != 0 && min > max)
        return error_set(err, "%s 1.3 is above %s 1.2",
                         tls_word(s->role, s->words_of_file, "tls_min"),
                         tls_word(s->role, s->words_of_file, "tls_max"));
    ERR_clear_error();
    if (SSL_CTX_set_min_proto_version(ctx, min) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, max) != 1)
        return error_set(err, "TLS versions: %s", tls_openssl_reason());
    return true;
}

/* ---- ALPN ---- */

bool tls_alpn_prepare(struct tls_profile *profile, const struct tls_settings *s, struct error *err)
{
    const char *word = tls_word(s->role, s->words_of_file, "alpn");
    size_t total = 0;
    if (s->alpn.count == 0)
        return true;
    for (size_t i = 0; i < s->alpn.count; i++) {
        size_t length = strlen(s->alpn.items[i]);
        if (length == 0 || length > ALPN_NAME_MAX)
            return error_set(err, "%s: the name of a protocol has 1 to %d bytes, entry %zu has %zu",
                             word, ALPN_NAME_MAX, i + 1, length);
        total += 1 + length;
    }
    if (total > ALPN_TOTAL_MAX)
        return error_set(err, "%s: the names are longer than %d bytes together", word,
                         ALPN_TOTAL_MAX);
    unsigned char *p = profile->alpn = malloc(total);
    if (p == NULL)
        return error_set(err, "TLS: no memory");
    profile->alpn_length = total;
    for (size_t i = 0; i < s->alpn.count; i++) {
        size_t length = strlen(s->alpn.items[i]);
        *p++ = (unsigned char)length;
        memcpy(p, s->alpn.items[i], length);
        p += length;
    }
    return true;
}

/* "h2, http/1.1", escaped; what does not fit is left out. */
static void alpn_text(char *dst, size_t size, const unsigned char *list, size_t length)
{
    size_t written = 0;
    dst[0] = '\0';
    for (size_t i = 0; i < length && i + list[i] < length; i += 1 + (size_t)list[i]) {
        char name[4 * ALPN_NAME_MAX + 1];
        str_escape(name, sizeof name, list + i + 1, list[i]);
        (void)str_append(dst, size, &written, "%s%s", written > 0 ? ", " : "", name);
    }
}

/* RFC 7301 3.2: the server's preference counts, and nothing in common is the end. Not called for a
 * client that has no ALPN. */
static int alpn_select(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                       const unsigned char *offered, unsigned offered_length, void *context)
{
    const struct tls_profile *p = tls_profile_of(ssl);
    unsigned char *chosen = NULL;
    (void)context;
    if (SSL_select_next_proto(&chosen, out_length, p->alpn, (unsigned)p->alpn_length, offered,
                              offered_length) == OPENSSL_NPN_NEGOTIATED) {
        *out = chosen;
        return SSL_TLSEXT_ERR_OK;
    }
    char ours[100];
    char theirs[100];
    alpn_text(ours, sizeof ours, p->alpn, p->alpn_length);
    alpn_text(theirs, sizeof theirs, offered, offered_length);
    tls_refuse(ssl, "add one of the consumer's protocols to {alpn}, or have it offer one of these",
               "no application protocol in common: the consumer offers %s, we take %s", theirs,
               ours);
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol (120) */
}

static bool arm_alpn(SSL_CTX *ctx, const struct tls_profile *p, struct error *err)
{
    if (p->alpn == NULL)
        return true;
    if (p->role == TLS_DOWNSTREAM)
        SSL_CTX_set_alpn_select_cb(ctx, alpn_select, NULL);
    else if (SSL_CTX_set_alpn_protos(ctx, p->alpn, (unsigned)p->alpn_length) != 0) /* 0: done */
        return error_set(err, "%s: %s", tls_word(p->role, p->words_of_file, "alpn"),
                         tls_openssl_reason());
    return true;
}

bool tls_negotiation_arm(SSL_CTX *ctx, const struct tls_profile *profile,
                         const struct tls_settings *s, struct error *err)
{
    /* The level first: it bears on what the rest may be. It also takes back what the machine's
     * openssl.cnf says of it. */
    SSL_CTX_set_security_level(ctx, s->security_level);
    return set_versions(ctx, s, err) && set_ciphers(ctx, s, err) && set_ciphersuites(ctx, s, err) &&
           check_ciphers(ctx, s, err) &&
           (s->groups == NULL || set_list(ctx, &groups_kind, s, s->groups, s->groups, err)) &&
           (s->sigalgs == NULL || set_list(ctx, &sigalgs_kind, s, s->sigalgs, s->sigalgs, err)) &&
           arm_alpn(ctx, profile, err);
}

/* ---- what was agreed ---- */

/* Names of groups that do not depend on the version of OpenSSL. */
static const char *group_name(SSL *ssl)
{
    /* OpenSSL would look into a session that an early failure leaves missing. */
    int group = SSL_get_session(ssl) != NULL ? (int)SSL_get_negotiated_group(ssl) : 0;
    if (group == 0) /* static RSA, or a resumption without key exchange */
        return "";
    switch (group) { /* in the spelling that people know; RFC 8446 4.2.7 has a small x */
    case NID_X25519:
        return "X25519";
    case NID_X448:
        return "X448";
    default:
        break;
    }
    const char *name;
#if OPENSSL_VERSION_NUMBER >= 0x30200000L
    /* Hybrid groups have no NID, but the name of their registration: X25519MLKEM768. */
    name = SSL_get0_group_name(ssl);
    if (name != NULL)
        return name;
#endif
    if (group == NID_X9_62_prime256v1) /* OpenSSL's own name is another */
        return "secp256r1";
    name = SSL_group_to_name(ssl, group);
    if (name == NULL)
        name = OBJ_nid2sn(group);
    return name != NULL ? name : "";
}

void tls_negotiated(SSL *ssl, struct tls_info *info)
{
    const unsigned char *protocol = NULL;
    unsigned length = 0;
    ERR_clear_error();
    (void)str_copy(info->group, sizeof info->group, group_name(ssl));
    SSL_get0_alpn_selected(ssl, &protocol, &length);
    str_escape(info->alpn, sizeof info->alpn, protocol != NULL ? protocol : (const void *)"",
               length);
    ERR_clear_error();
}
