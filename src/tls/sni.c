/* Which certificate a consumer is shown. */
#include "sni.h"
#include "refuse.h"
#include "tickets.h"

#include <esclusa/str.h>

#include <ctype.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define SNI_NAME_MAX 255 /* RFC 1035 2.3.4, and what OpenSSL takes */

/* One name of one identity: a row of the table, or several for the same name, in the order of their
 * identities. A wildcard stands as "*.example.test". */
struct sni_row {
    char *name;
    const struct tls_identity *identity;
};

/* Rows that have one name. */
struct sni_choice {
    const struct sni_row *rows; /* NULL: no certificate bears the name */
    size_t count;
};

struct tls_sni {
    bool strict;
    struct sni_row *rows; /* sorted by name, then as the identities are */
    size_t count, size;
};

/* ---- the table ---- */

static bool add_row(struct tls_sni *sni, const struct tls_identity *identity, const char *text,
                    size_t length)
{
    if (sni->count == sni->size) {
        size_t size = sni->size == 0 ? 16 : sni->size * 2;
        struct sni_row *rows = realloc(sni->rows, size * sizeof *rows);
        if (rows == NULL)
            return false;
        sni->rows = rows;
        sni->size = size;
    }
    char *name = malloc(length + 1);
    if (name == NULL)
        return false;
    for (size_t i = 0; i < length; i++)
        name[i] = (char)tolower((unsigned char)text[i]);
    name[length] = '\0';
    sni->rows[sni->count++] = (struct sni_row){name, identity};
    return true;
}

/* The dNSNames of a certificate; one that could be no name of a host is in nobody's SNI. */
static bool add_names(struct tls_sni *sni, const struct tls_identity *identity)
{
    bool done = true;
    GENERAL_NAMES *names = X509_get_ext_d2i(identity->leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; done && i < sk_GENERAL_NAME_num(names); i++) {
        int kind = 0;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind);
        if (kind != GEN_DNS)
            continue;
        const char *text = (const char *)ASN1_STRING_get0_data(value);
        size_t length = (size_t)ASN1_STRING_length(value);
        if (length > 0 && length <= SNI_NAME_MAX && memchr(text, '\0', length) == NULL)
            done = add_row(sni, identity, text, length);
    }
    GENERAL_NAMES_free(names);
    return done;
}

static int by_name(const void *a, const void *b)
{
    const struct sni_row *one = a;
    const struct sni_row *two = b;
    int order = strcmp(one->name, two->name);
    if (order != 0)
        return order;
    return (one->identity > two->identity) - (one->identity < two->identity);
}

static struct sni_choice rows_of(const struct tls_sni *sni, const char *name)
{
    struct sni_choice choice = {NULL, 0};
    size_t low = 0;
    for (size_t high = sni->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(sni->rows[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (low + choice.count < sni->count && strcmp(sni->rows[low + choice.count].name, name) == 0)
        choice.count++;
    if (choice.count > 0)
        choice.rows = &sni->rows[low];
    return choice;
}

/* name: in lower case. */
static struct sni_choice choose(const struct tls_sni *sni, const char *name)
{
    struct sni_choice choice = rows_of(sni, name);
    const char *rest = strchr(name, '.');
    if (choice.count > 0 || rest == NULL || rest == name)
        return choice;
    char wildcard[SNI_NAME_MAX + 2];
    size_t length = 0;
    if (str_append(wildcard, sizeof wildcard, &length, "*%s", rest)) /* one label: RFC 9525 6.3 */
        choice = rows_of(sni, wildcard);
    return choice;
}

/* ---- what a consumer asked for ---- */

/* In lower case, without the dot at the end that some send. False: it is no name of ours. */
static bool normal_name(char *dst, size_t size, const char *text, size_t length)
{
    if (length > 1 && text[length - 1] == '.')
        length--;
    if (length == 0 || length >= size || memchr(text, '\0', length) != NULL)
        return false;
    for (size_t i = 0; i < length; i++)
        dst[i] = (char)tolower((unsigned char)text[i]);
    dst[length] = '\0';
    return true;
}

static struct sni_choice chosen_for(const SSL *ssl, const struct tls_sni *sni)
{
    char name[SNI_NAME_MAX + 1];
    const char *sent = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (sent == NULL || !normal_name(name, sizeof name, sent, strlen(sent)))
        return (struct sni_choice){NULL, 0};
    return choose(sni, name);
}

/* The host_name of a server_name extension; RFC 6066 3: a list with a length, and in it the type
 * and the name with its own. What is malformed OpenSSL will refuse by itself. */
static bool name_of_hello(SSL *ssl, char *dst, size_t size)
{
    const unsigned char *p = NULL;
    size_t length = 0;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &length) != 1 || length < 5 ||
        p[2] != TLSEXT_NAMETYPE_host_name)
        return false;
    size_t name = (size_t)p[3] << 8 | p[4];
    return name <= length - 5 && normal_name(dst, size, (const char *)p + 5, name);
}

/* RFC 6066 3: "MUST NOT accept the request to resume the session if the server_name extension
 * contains a different name." The session id context, which is in each session and ticket, becomes
 * one of the listener's and the name; this comes before OpenSSL looks for a session. */
static int tie_to_name(SSL *ssl, int *alert, void *context)
{
    char name[SNI_NAME_MAX + 1];
    unsigned char bytes[TLS_FINGERPRINT_SIZE + sizeof name];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    const struct tls_profile *profile = tls_profile_of(ssl);
    (void)context;
    if (!name_of_hello(ssl, name, sizeof name))
        return SSL_CLIENT_HELLO_SUCCESS; /* the context's own */
    size_t size = strlen(name);
    memcpy(bytes, tls_tickets_context(profile->tickets), TLS_FINGERPRINT_SIZE);
    for (size_t i = 0; i < size; i++) /* no text: its NUL does not count */
        bytes[TLS_FINGERPRINT_SIZE + i] = (unsigned char)name[i];
    if (EVP_Digest(bytes, TLS_FINGERPRINT_SIZE + size, digest, &length, EVP_sha256(), NULL) == 1 &&
        SSL_set_session_id_context(ssl, digest, length) == 1)
        return SSL_CLIENT_HELLO_SUCCESS;
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
}

static int refuse_name(SSL *ssl, int *alert)
{
    static const char remedy[] =
        "have the consumer ask for a name of a certificate in {cert}, give one for that name with "
        "{cert}, or turn {sni_strict} off";
    char text[160];
    const char *sent = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (sent == NULL) {
        tls_refuse(ssl, remedy, "the consumer named no server (no SNI)");
        *alert = TLS13_AD_MISSING_EXTENSION;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    str_escape(text, sizeof text, sent, strlen(sent));
    tls_refuse(ssl, remedy, "no certificate for the name '%s'", text);
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int check_name(SSL *ssl, int *alert, void *context)
{
    const struct tls_sni *sni = tls_profile_of(ssl)->sni;
    (void)context;
    if (chosen_for(ssl, sni).count > 0)
        return SSL_TLSEXT_ERR_OK;
    return sni->strict ? refuse_name(ssl, alert) : SSL_TLSEXT_ERR_NOACK;
}

/* ---- kinds of key ---- */

/* OpenSSL has one place for a kind: "RSA", "RSA-PSS", "EC", "ED25519", ... */
static const char *kind_of(const struct tls_identity *identity)
{
    const EVP_PKEY *key = X509_get0_pubkey(identity->leaf);
    const char *kind = key != NULL ? EVP_PKEY_get0_type_name(key) : NULL;
    return kind != NULL ? kind : "";
}

static bool first_of_kind(const struct sni_choice *choice, size_t at)
{
    const char *kind = kind_of(choice->rows[at].identity);
    for (size_t i = 0; i < at; i++)
        if (strcmp(kind_of(choice->rows[i].identity), kind) == 0)
            return false;
    return true;
}

/* Only reached where no session is resumed. */
static int show_certificates(SSL *ssl, void *context)
{
    const struct sni_choice choice = chosen_for(ssl, tls_profile_of(ssl)->sni);
    (void)context;
    if (choice.count == 0)
        return 1; /* what is in the SSL_CTX */
    SSL_certs_clear(ssl);
    for (size_t i = 0; i < choice.count; i++) {
        const struct tls_identity *id = choice.rows[i].identity;
        if (first_of_kind(&choice, i) &&
            SSL_use_cert_and_key(ssl, id->leaf, id->key, id->chain, 1) != 1)
            return 0;
    }
    return 1;
}

/* ---- profiles ---- */

static bool bears_name(const struct tls_sni *sni, const struct tls_identity *identity,
                       const char *name)
{
    const struct sni_choice choice = rows_of(sni, name);
    for (size_t i = 0; i < choice.count; i++)
        if (choice.rows[i].identity == identity)
            return true;
    return false;
}

/* other bears all names that first does; if that bears none, neither does other. */
static bool stands_beside(const struct tls_sni *sni, const struct tls_identity *first,
                          const struct tls_identity *other)
{
    bool any_first = false;
    bool any_other = false;
    for (size_t i = 0; i < sni->count; i++) {
        any_other = any_other || sni->rows[i].identity == other;
        if (sni->rows[i].identity != first)
            continue;
        any_first = true;
        if (!bears_name(sni, other, sni->rows[i].name))
            return false;
    }
    return any_first || !any_other;
}

static bool is_default(const struct tls_profile *p, size_t at)
{
    if (at == 0 || p->sni == NULL)
        return at == 0;
    const char *kind = kind_of(&p->identities[at]);
    for (size_t i = 0; i < at; i++)
        if (strcmp(kind_of(&p->identities[i]), kind) == 0 && is_default(p, i))
            return false;
    return stands_beside(p->sni, &p->identities[0], &p->identities[at]);
}

static bool put_into(SSL_CTX *ctx, const struct tls_identity *id)
{
    return SSL_CTX_use_cert_and_key(ctx, id->leaf, id->key, id->chain, 1) == 1;
}

static bool try_identities(const struct tls_profile *p, const struct tls_settings *s,
                           struct error *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    if (ctx == NULL)
        return error_set(err, "OpenSSL: %s", tls_openssl_reason());
    SSL_CTX_set_security_level(ctx, s->security_level);
    bool done = true;
    for (size_t i = 0; done && i < p->identity_count; i++) {
        ERR_clear_error();
        done = put_into(ctx, &p->identities[i]) ||
               error_set(err, "%s '%s': OpenSSL does not take it at %s %d: %s",
                         tls_word(s->role, s->words_of_file, "cert"), s->certs.items[i],
                         tls_word(s->role, s->words_of_file, "security_level"), s->security_level,
                         tls_openssl_reason());
    }
    SSL_CTX_free(ctx);
    return done;
}

bool tls_sni_prepare(struct tls_profile *profile, const struct tls_settings *s, struct error *err)
{
    if (!try_identities(profile, s, err))
        return false;
    if (s->role == TLS_UPSTREAM || (profile->identity_count < 2 && !s->sni_strict))
        return true;
    struct tls_sni *sni = profile->sni = calloc(1, sizeof *sni);
    if (sni == NULL)
        return error_set(err, "TLS: no memory");
    sni->strict = s->sni_strict;
    for (size_t i = 0; i < profile->identity_count; i++)
        if (!add_names(sni, &profile->identities[i]))
            return error_set(err, "TLS: no memory");
    if (sni->count > 0)
        qsort(sni->rows, sni->count, sizeof *sni->rows, by_name);
    if (sni->strict && sni->count == 0)
        return error_set(err, "%s: no certificate of %s bears a DNS name: nobody could connect",
                         tls_word(s->role, s->words_of_file, "sni_strict"),
                         tls_word(s->role, s->words_of_file, "cert"));
    return true;
}

void tls_sni_destroy(struct tls_sni **sni)
{
    if (*sni == NULL)
        return;
    for (size_t i = 0; i < (*sni)->count; i++)
        free((*sni)->rows[i].name);
    free((*sni)->rows);
    free(*sni);
    *sni = NULL;
}

bool tls_identities_arm(SSL_CTX *ctx, const struct tls_profile *profile, struct error *err)
{
    ERR_clear_error();
    for (size_t i = 0; i < profile->identity_count; i++)
        if (is_default(profile, i) && !put_into(ctx, &profile->identities[i]))
            return error_set(err, "%s: OpenSSL does not take it: %s",
                             tls_word(profile->role, profile->words_of_file, "cert"),
                             tls_openssl_reason());
    if (profile->sni == NULL)
        return true;
    SSL_CTX_set_client_hello_cb(ctx, tie_to_name, NULL);
    (void)SSL_CTX_set_tlsext_servername_callback(ctx, check_name);
    SSL_CTX_set_cert_cb(ctx, show_certificates, NULL);
    return true;
}
