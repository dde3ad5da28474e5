/* What one OCSP response says about one certificate, and whether to believe it. RFC 6960. */
#include "ocsp_response.h"
#include "revoke.h"

#include <esclusa/str.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

static void say(struct ocsp_answer *a, enum ocsp_verdict verdict, const char *detail)
{
    a->verdict = verdict;
    (void)str_copy(a->detail, sizeof a->detail, detail);
}

/* ---- whom it is about ---- */

X509 *ocsp_find_issuer(X509 *leaf, STACK_OF(X509) * candidates)
{
    for (int i = 0; i < sk_X509_num(candidates); i++) {
        X509 *candidate = sk_X509_value(candidates, i);
        EVP_PKEY *key = X509_get0_pubkey(candidate);
        bool issued = key != NULL && X509_check_issued(candidate, leaf) == X509_V_OK &&
                      X509_verify(leaf, key) == 1;
        ERR_clear_error();
        if (issued)
            return candidate;
    }
    return NULL;
}

/* RFC 6960 4.1.1: a CertID names the issuer by digests of its name and key. The responder chooses
 * the digest. */
static bool is_about(const OCSP_SINGLERESP *single, const X509 *leaf, const X509 *issuer)
{
    /* OpenSSL's getter takes no const, and changes nothing. */
    union {
        const OCSP_CERTID *in;
        OCSP_CERTID *out;
    } id = {.in = OCSP_SINGLERESP_get0_id(single)};
    ASN1_OCTET_STRING *name_hash = NULL;
    ASN1_OBJECT *digest = NULL;
    ASN1_INTEGER *serial = NULL;
    if (OCSP_id_get0_info(&name_hash, &digest, NULL, &serial, id.out) != 1 ||
        ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) != 0)
        return false;
    const EVP_MD *md = EVP_get_digestbyobj(digest);
    if (md == NULL)
        return false;
    if (issuer == NULL) {
        unsigned char hash[EVP_MAX_MD_SIZE];
        unsigned length = 0;
        return X509_NAME_digest(X509_get_issuer_name(leaf), md, hash, &length) == 1 &&
               ASN1_STRING_length(name_hash) == (int)length &&
               memcmp(ASN1_STRING_get0_data(name_hash), hash, length) == 0;
    }
    OCSP_CERTID *wanted = OCSP_cert_to_id(md, leaf, issuer);
    bool same = wanted != NULL && OCSP_id_cmp(wanted, id.out) == 0;
    OCSP_CERTID_free(wanted);
    return same;
}

/* ---- whether it is signed by whom it must be ---- */

static bool digest_is_weak(const OCSP_BASICRESP *basic, int security_level)
{
    const ASN1_OBJECT *algorithm = NULL;
    int digest = NID_undef;
    X509_ALGOR_get0(&algorithm, NULL, NULL, OCSP_resp_get0_tbs_sigalg(basic));
    if (security_level == 0 || OBJ_find_sigid_algs(OBJ_obj2nid(algorithm), &digest, NULL) != 1)
        return false;
    return digest == NID_sha1 || digest == NID_md5 || digest == NID_md5_sha1;
}

/* The issuer, or one with OCSPSigning whose certificate it issued (RFC 6960 4.2.2.2). Nobody else:
 * the store holds the issuer alone, and no other trust is looked at (OCSP_NOEXPLICIT). */
static bool is_signed(OCSP_BASICRESP *basic, X509 *issuer, int security_level)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *signers = sk_X509_new_null();
    bool good = false;
    if (store != NULL && signers != NULL && X509_STORE_add_cert(store, issuer) == 1 &&
        sk_X509_push(signers, issuer) > 0) {
        /* The issuer need not be self-signed: the chain was verified before. */
        (void)X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
        X509_VERIFY_PARAM_set_auth_level(X509_STORE_get0_param(store), security_level);
        good = OCSP_basic_verify(basic, signers, store, OCSP_NOEXPLICIT) == 1;
    }
    sk_X509_free(signers);
    X509_STORE_free(store);
    return good;
}

/* ---- what it says ---- */

static void judge_time(struct ocsp_answer *a, const ASN1_GENERALIZEDTIME *begin,
                       const ASN1_GENERALIZEDTIME *end)
{
    int64_t now = (int64_t)time(NULL);
    size_t length = 0;
    if (!tls_time_seconds(begin, &a->this_update_s) ||
        (end != NULL && !tls_time_seconds(end, &a->valid_until_s))) {
        say(a, OCSP_DAMAGED, "it has a date that cannot be read");
        return;
    }
    if (end == NULL)
        a->valid_until_s = a->this_update_s + OCSP_AGE_MAX_S;
    if (a->valid_until_s < a->this_update_s) {
        say(a, OCSP_DAMAGED, "its nextUpdate is before its thisUpdate");
    } else if (a->this_update_s > now + OCSP_SKEW_S) {
        tls_time_text(a->date, sizeof a->date, begin);
        say(a, OCSP_EARLY, "");
        (void)str_append(a->detail, sizeof a->detail, &length, "it is not valid before %s",
                         a->date);
    } else if (a->valid_until_s < now - OCSP_SKEW_S) {
        tls_time_text(a->date, sizeof a->date, end != NULL ? end : begin);
        say(a, OCSP_EXPIRED, "");
        (void)str_append(a->detail, sizeof a->detail, &length,
                         end != NULL ? "it expired at %s"
                                     : "it is of %s and has no nextUpdate: too old",
                         a->date);
    } else {
        say(a, OCSP_GOOD, "");
    }
}

/* A certificate that was revoked stays so, however old the response is: the status comes first. */
static void judge(struct ocsp_answer *a, OCSP_SINGLERESP *single)
{
    ASN1_GENERALIZEDTIME *revoked = NULL;
    ASN1_GENERALIZEDTIME *begin = NULL;
    ASN1_GENERALIZEDTIME *end = NULL;
    int reason = -1;
    size_t length = 0;
    switch (OCSP_single_get0_status(single, &reason, &revoked, &begin, &end)) {
    case V_OCSP_CERTSTATUS_GOOD:
        judge_time(a, begin, end);
        break;
    case V_OCSP_CERTSTATUS_REVOKED:
        tls_time_text(a->date, sizeof a->date, revoked);
        say(a, OCSP_REVOKED_ANSWER, "");
        (void)str_append(a->detail, sizeof a->detail, &length, "revoked at %s, %s", a->date,
                         reason >= 0 ? OCSP_crl_reason_str(reason) : "no reason given");
        break;
    case V_OCSP_CERTSTATUS_UNKNOWN:
        say(a, OCSP_UNKNOWN_ANSWER, "its responder does not know the certificate");
        break;
    default:
        say(a, OCSP_DAMAGED, "it has a status that OpenSSL does not know");
        break;
    }
}

static void check_singles(struct ocsp_answer *a, OCSP_BASICRESP *basic, X509 *leaf, X509 *issuer)
{
    bool found = false;
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        if (!is_about(single, leaf, issuer))
            continue;
        struct ocsp_answer one = {.verdict = OCSP_GOOD};
        judge(&one, single);
        if (!found || one.verdict != OCSP_GOOD || one.valid_until_s < a->valid_until_s)
            *a = one;
        found = true;
        if (one.verdict != OCSP_GOOD)
            return;
    }
    if (!found)
        say(a, OCSP_OF_ANOTHER, "it is about another certificate");
}

static void check_basic(struct ocsp_answer *a, OCSP_BASICRESP *basic, X509 *leaf, X509 *issuer,
                        int security_level)
{
    check_singles(a, basic, leaf, issuer);
    if (a->verdict == OCSP_OF_ANOTHER || issuer == NULL)
        return;
    if (!is_signed(basic, issuer, security_level)) {
        size_t length = 0;
        a->date[0] = '\0';
        unsigned long code = ERR_peek_last_error();
        const char *why = ERR_reason_error_string(code);
        say(a, OCSP_UNVERIFIED, "");
        (void)str_append(a->detail, sizeof a->detail, &length,
                         "it is not signed by the certificate's issuer, nor by a responder of "
                         "that: %s",
                         why != NULL ? why : "unknown error");
    } else if (digest_is_weak(basic, security_level)) {
        a->date[0] = '\0';
        say(a, OCSP_WEAK, "it is signed with a digest that is too weak (SHA-1 or MD5)");
    }
}

static void check_response(struct ocsp_answer *a, OCSP_RESPONSE *response, X509 *leaf, X509 *issuer,
                           int security_level)
{
    int status = OCSP_response_status(response);
    size_t length = 0;
    if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        say(a, OCSP_UNSUCCESSFUL, "");
        (void)str_append(a->detail, sizeof a->detail, &length, "its responder had no answer: %s",
                         OCSP_response_status_str(status));
        return;
    }
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    if (basic == NULL)
        say(a, OCSP_DAMAGED, "it is damaged, or of an unknown kind");
    else
        check_basic(a, basic, leaf, issuer, security_level);
    OCSP_BASICRESP_free(basic);
}

void ocsp_check(struct ocsp_answer *answer, const unsigned char *der, size_t length, X509 *leaf,
                X509 *issuer, int security_level)
{
    const unsigned char *at = der;
    memset(answer, 0, sizeof *answer);
    (void)ERR_set_mark();
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)length);
    if (response == NULL || at != der + length)
        say(answer, OCSP_DAMAGED, "it is damaged: not DER, or cut");
    else
        check_response(answer, response, leaf, issuer, security_level);
    OCSP_RESPONSE_free(response);
    (void)ERR_pop_to_mark();
}
