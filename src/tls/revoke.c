/* Certificate revocation lists: in the trust store for OpenSSL's lookups, and beside it for the
 * words of a refusal and the end of what was verified. */
#include "revoke.h"
#include "crl_files.h"

#include <esclusa/str.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Kept with the X509_STORE, whose own list needs a lock to be read. Immutable once there. */
struct crls {
    STACK_OF(X509_CRL) * lists;
    const char *word; /* what a remedy calls the setting; static */
};

static pthread_once_t slot_once = PTHREAD_ONCE_INIT;
static int slot = -1;

static void crls_free(struct crls *crls)
{
    if (crls != NULL)
        sk_X509_CRL_pop_free(crls->lists, X509_CRL_free);
    free(crls);
}

static void free_with_store(void *store, void *data, CRYPTO_EX_DATA *all, int index, long argl,
                            void *argp)
{
    (void)store;
    (void)all;
    (void)index;
    (void)argl;
    (void)argp;
    crls_free(data);
}

static void make_slot(void)
{
    slot = X509_STORE_get_ex_new_index(0, NULL, NULL, NULL, free_with_store);
}

static const struct crls *crls_of(const X509_STORE *store)
{
    return store == NULL || slot < 0 ? NULL : X509_STORE_get_ex_data(store, slot);
}

bool tls_time_seconds(const ASN1_TIME *time, int64_t *seconds_r)
{
    struct tm tm;
    if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    *seconds_r = (int64_t)timegm(&tm);
    return true;
}

/* ---- at start ---- */

static bool read_lists(STACK_OF(X509_CRL) * lists, const struct tls_settings *s, struct error *err)
{
    return (s->crl_file == NULL ||
            tls_crls_read_file(lists, s->crl_file, tls_word(s->role, s->words_of_file, "crl"),
                               err)) &&
           (s->crl_dir == NULL ||
            tls_crls_read_dir(lists, s->crl_dir, tls_word(s->role, s->words_of_file, "crl_dir"),
                              err));
}

/* The entries are sorted by the first lookup, under a lock: now, and not in a handshake. */
static void sort_entries(X509_CRL *crl)
{
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    X509_REVOKED *unused = NULL;
    if (serial != NULL && ASN1_INTEGER_set(serial, 1) == 1)
        (void)X509_CRL_get0_by_serial(crl, &unused, serial);
    ASN1_INTEGER_free(serial);
}

#define HASH_SIZE 32 /* SHA-256 */

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, HASH_SIZE);
}

/* Sorted, and each once: files may be named or split differently. */
static bool digest_lists(STACK_OF(X509_CRL) * lists, EVP_MD_CTX *digest)
{
    static const char label[] = "CRLs";
    size_t count = (size_t)sk_X509_CRL_num(lists);
    unsigned char *hashes = malloc(count * HASH_SIZE);
    bool done = hashes != NULL && EVP_DigestUpdate(digest, label, sizeof label) == 1;
    for (size_t i = 0; done && i < count; i++)
        done = X509_CRL_digest(sk_X509_CRL_value(lists, (int)i), EVP_sha256(),
                               hashes + i * HASH_SIZE, NULL) == 1;
    if (done)
        qsort(hashes, count, HASH_SIZE, by_bytes);
    for (size_t i = 0; done && i < count; i++)
        if (i == 0 || memcmp(hashes + i * HASH_SIZE, hashes + (i - 1) * HASH_SIZE, HASH_SIZE) != 0)
            done = EVP_DigestUpdate(digest, hashes + i * HASH_SIZE, HASH_SIZE) == 1;
    free(hashes);
    return done;
}

static bool add_lists(X509_STORE *store, STACK_OF(X509_CRL) * lists, EVP_MD_CTX *digest,
                      struct error *err)
{
    ERR_clear_error();
    for (int i = 0; i < sk_X509_CRL_num(lists); i++) {
        sort_entries(sk_X509_CRL_value(lists, i));
        if (X509_STORE_add_crl(store, sk_X509_CRL_value(lists, i)) != 1)
            return error_set(err, "revocation lists: %s", tls_openssl_reason());
    }
    return digest_lists(lists, digest) ||
           error_set(err, "revocation lists: %s", tls_openssl_reason());
}

bool tls_crls_read(X509_STORE *store, const struct tls_settings *s, EVP_MD_CTX *digest, bool *any_r,
                   struct error *err)
{
    *any_r = false;
    if (s->crl_file == NULL && s->crl_dir == NULL)
        return true;
    struct crls *crls = calloc(1, sizeof *crls);
    if (crls == NULL || (crls->lists = sk_X509_CRL_new_null()) == NULL ||
        pthread_once(&slot_once, make_slot) != 0 || slot < 0) {
        crls_free(crls);
        return error_set(err, "revocation lists: no memory");
    }
    crls->word = tls_word(s->role, s->words_of_file, s->crl_file == NULL ? "crl_dir" : "crl");
    if (!read_lists(crls->lists, s, err) || !add_lists(store, crls->lists, digest, err)) {
        crls_free(crls);
        return false;
    }
    if (X509_STORE_set_ex_data(store, slot, crls) != 1) {
        crls_free(crls);
        return error_set(err, "revocation lists: no memory");
    }
    *any_r = true;
    return true;
}

/* ---- while sessions run ---- */

bool tls_is_revocation_error(int error)
{
    switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD:
    case X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
    case X509_V_ERR_CERT_REVOKED:
    case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
    case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
    case X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
    case X509_V_ERR_OCSP_VERIFY_NEEDED:
    case X509_V_ERR_OCSP_VERIFY_FAILED:
    case X509_V_ERR_OCSP_CERT_UNKNOWN:
        return true;
    default:
        return false;
    }
}

static bool is_for(const X509_CRL *crl, const X509 *certificate)
{
    return X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_issuer_name(certificate)) == 0;
}

int64_t tls_crls_valid_until(X509_STORE *store, STACK_OF(X509) * chain)
{
    const struct crls *crls = crls_of(store);
    int64_t now = (int64_t)time(NULL);
    int64_t first = INT64_MAX;
    if (crls == NULL)
        return first;
    for (int i = 0; i < sk_X509_CRL_num(crls->lists); i++) {
        const X509_CRL *crl = sk_X509_CRL_value(crls->lists, i);
        int64_t next = 0;
        /* One that is over was not what the chain was accepted by. */
        if (!tls_time_seconds(X509_CRL_get0_nextUpdate(crl), &next) || next <= now || next >= first)
            continue;
        bool used = false;
        for (int j = 0; !used && j < sk_X509_num(chain); j++)
            used = is_for(crl, sk_X509_value(chain, j));
        if (used)
            first = next;
    }
    return first;
}

/* ---- why it was refused ---- */

/* The list that OpenSSL will have looked at: the newest of that issuer. NULL: there is none. */
static X509_CRL *newest_for(const struct crls *crls, const X509 *certificate)
{
    X509_CRL *newest = NULL;
    int64_t newest_s = 0;
    for (int i = 0; i < sk_X509_CRL_num(crls->lists); i++) {
        X509_CRL *crl = sk_X509_CRL_value(crls->lists, i);
        int64_t begin = 0;
        if (!is_for(crl, certificate) || !tls_time_seconds(X509_CRL_get0_lastUpdate(crl), &begin) ||
            (newest != NULL && begin <= newest_s))
            continue;
        newest = crl;
        newest_s = begin;
    }
    return newest;
}

/* RFC 5280 5.2.1. True for those of the same key, and where neither says which. */
static bool is_of_one_key(const X509_CRL *a, const X509_CRL *b)
{
    AUTHORITY_KEYID *one = X509_CRL_get_ext_d2i(a, NID_authority_key_identifier, NULL, NULL);
    AUTHORITY_KEYID *other = X509_CRL_get_ext_d2i(b, NID_authority_key_identifier, NULL, NULL);
    const ASN1_OCTET_STRING *one_id = one != NULL ? one->keyid : NULL;
    const ASN1_OCTET_STRING *other_id = other != NULL ? other->keyid : NULL;
    bool same = one_id == NULL || other_id == NULL ? one_id == other_id
                                                   : ASN1_OCTET_STRING_cmp(one_id, other_id) == 0;
    AUTHORITY_KEYID_free(one);
    AUTHORITY_KEYID_free(other);
    return same;
}

/* A list that was issued later does not have it any more: it was on hold (RFC 5280 5.3.1). */
static bool is_taken_back(const struct crls *crls, const X509_CRL *crl, X509 *certificate)
{
    int64_t begin = 0;
    int64_t now = (int64_t)time(NULL);
    (void)tls_time_seconds(X509_CRL_get0_lastUpdate(crl), &begin);
    for (int i = 0; i < sk_X509_CRL_num(crls->lists); i++) {
        X509_CRL *later = sk_X509_CRL_value(crls->lists, i);
        X509_REVOKED *unused = NULL;
        int64_t then = 0;
        if (is_for(later, certificate) &&
            tls_time_seconds(X509_CRL_get0_lastUpdate(later), &then) && then > begin &&
            then <= now && is_of_one_key(crl, later) &&
            X509_CRL_get0_by_cert(later, &unused, certificate) != 1)
            return true;
    }
    return false;
}

static X509_REVOKED *entry_of(const struct crls *crls, X509 *certificate)
{
    for (int i = 0; i < sk_X509_CRL_num(crls->lists); i++) {
        X509_CRL *crl = sk_X509_CRL_value(crls->lists, i);
        X509_REVOKED *entry = NULL;
        if (is_for(crl, certificate) && X509_CRL_get0_by_cert(crl, &entry, certificate) == 1 &&
            !is_taken_back(crls, crl, certificate))
            return entry;
    }
    return NULL;
}

void tls_profile_crls(const struct tls_profile *profile,
                      void (*callback)(void *context, const struct tls_crl *crl), void *context)
{
    const struct crls *crls = crls_of(profile->store);
    for (int i = 0; crls != NULL && i < sk_X509_CRL_num(crls->lists); i++) {
        const X509_CRL *list = sk_X509_CRL_value(crls->lists, i);
        struct tls_crl crl = {.next_update_s = 0};
        tls_name_text(crl.issuer, sizeof crl.issuer, X509_CRL_get_issuer(list));
        (void)tls_time_seconds(X509_CRL_get0_nextUpdate(list), &crl.next_update_s);
        callback(context, &crl);
    }
}

bool tls_crls_list(X509_STORE *store, X509 *certificate)
{
    const struct crls *crls = crls_of(store);
    return crls != NULL && entry_of(crls, certificate) != NULL;
}

int tls_crls_look_up(X509_STORE *store, X509 *certificate)
{
    const struct crls *crls = crls_of(store);
    int64_t now = (int64_t)time(NULL);
    int64_t begin = 0;
    int64_t end = 0;
    if (crls == NULL)
        return X509_V_ERR_UNABLE_TO_GET_CRL;
    if (entry_of(crls, certificate) != NULL)
        return X509_V_ERR_CERT_REVOKED;
    if (X509_self_signed(certificate, 0) == 1)
        return X509_V_OK;
    const X509_CRL *crl = newest_for(crls, certificate);
    if (crl == NULL || !tls_time_seconds(X509_CRL_get0_lastUpdate(crl), &begin) ||
        !tls_time_seconds(X509_CRL_get0_nextUpdate(crl), &end))
        return X509_V_ERR_UNABLE_TO_GET_CRL;
    if (begin > now)
        return X509_V_ERR_CRL_NOT_YET_VALID;
    return end <= now ? X509_V_ERR_CRL_HAS_EXPIRED : X509_V_OK;
}

/* RFC 5280 5.3.1: the reason may be absent. */
static const char *entry_reason(const X509_REVOKED *entry)
{
    ASN1_ENUMERATED *code = X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, NULL, NULL);
    if (code == NULL)
        return "no reason given";
    long value = ASN1_ENUMERATED_get(code);
    ASN1_ENUMERATED_free(code);
    return OCSP_crl_reason_str(value);
}

static const char *remedy_text(int error, bool any_of_issuer)
{
    switch (error) {
    case X509_V_ERR_CERT_REVOKED:
        return "'{subject}' was revoked at {date}: have the {peer} use a new certificate";
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
        if (any_of_issuer)
            return "there is a CRL of '{issuer}' in {crl}, but not for this certificate (another "
                   "key of that CA, or another scope): add the one that is";
        return "with {crl} every certificate of the chain is looked up: add the current CRL of "
               "'{issuer}'";
    case X509_V_ERR_CRL_HAS_EXPIRED:
        return "the CRL of '{issuer}' expired at {date}: put the current one into {crl}";
    case X509_V_ERR_CRL_NOT_YET_VALID:
        return "the CRL of '{issuer}' is not valid before {date}: check this machine's clock";
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
        return "the CRL of '{issuer}' was not signed with the key of that CA's certificate: it is "
               "damaged, or the CA has got a new key: put its current CRL into {crl}";
    case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
        return "'{issuer}' may not sign CRLs (its key usage lacks cRLSign): have that CA's "
               "certificate made anew";
    case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
        return "the CRL of '{issuer}' has a critical extension that OpenSSL does not know: have it "
               "made without";
    default:
        return "the CRL of '{issuer}' in {crl} cannot be used: get the current one";
    }
}

/* What the setting is called in this profile: a directory, maybe. */
static void replace_word(char *dst, size_t size, const char *text, const char *word)
{
    static const char token[] = "{crl}";
    size_t length = 0;
    dst[0] = '\0';
    for (const char *at; (at = strstr(text, token)) != NULL; text = at + sizeof token - 1)
        (void)str_append(dst, size, &length, "%.*s%s", (int)(at - text), text, word);
    (void)str_append(dst, size, &length, "%s", text);
}

void tls_revocation_explain(struct tls_failure *f, const struct tls_profile *profile,
                            X509_STORE *store, X509 *refused)
{
    const struct crls *crls = crls_of(store);
    char date[64] = "";
    char text[512];
    size_t length = strlen(f->reason);
    struct tls_remedy_words words;
    f->revocation = tls_is_revocation_error(f->verify_error);
    if (crls == NULL || refused == NULL || !f->revocation)
        return;
    const X509_CRL *crl = newest_for(crls, refused);
    if (f->verify_error == X509_V_ERR_CERT_REVOKED) {
        const X509_REVOKED *entry = entry_of(crls, refused);
        if (entry == NULL)
            return;
        tls_time_text(date, sizeof date, X509_REVOKED_get0_revocationDate(entry));
        (void)str_append(f->reason, sizeof f->reason, &length, " (%s, %s)", date,
                         entry_reason(entry));
    } else if (crl != NULL) {
        bool early = f->verify_error == X509_V_ERR_CRL_NOT_YET_VALID;
        tls_time_text(date, sizeof date,
                      early ? X509_CRL_get0_lastUpdate(crl) : X509_CRL_get0_nextUpdate(crl));
        (void)str_append(f->reason, sizeof f->reason, &length, " (CRL of '%s')", f->issuer);
    }
    replace_word(text, sizeof text, remedy_text(f->verify_error, crl != NULL), crls->word);
    tls_remedy_words_init(&words, profile);
    words.subject = f->subject;
    words.issuer = f->issuer;
    words.date = date;
    tls_remedy_write(f->remedy, sizeof f->remedy, text, &words);
}
