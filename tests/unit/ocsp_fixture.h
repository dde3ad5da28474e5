/* OCSP responses made at test time, by the authorities of tls_world.h: include that before. */
#ifndef ESCLUSA_TESTS_OCSP_FIXTURE_H
#define ESCLUSA_TESTS_OCSP_FIXTURE_H

#include <openssl/ocsp.h>
#include <time.h>

struct response {
    const struct fx_cert *subject;    /* NULL: good */
    const struct fx_cert *signer;     /* NULL: sub */
    int status;                       /* V_OCSP_CERTSTATUS_* */
    long from, until;                 /* seconds from now; both 0: a minute ago, in a day */
    bool endless;                     /* no nextUpdate */
    bool bare;                        /* without its signer's certificate */
    const EVP_MD *id_digest, *digest; /* NULL: SHA-1; SHA-256 */
    int outer;                        /* OCSP_RESPONSE_STATUS_* */
    const struct fx_cert *also;       /* whose answer stands before: good */
    bool also_last;                   /* stands behind */
};

struct bytes {
    unsigned char *data;
    int length;
};

static inline ASN1_TIME *seconds_from_now(long seconds)
{
    ASN1_TIME *when = ASN1_TIME_adj(NULL, time(NULL), 0, seconds);
    assert_non_null(when);
    /* OCSP writes GeneralizedTime only */
    ASN1_GENERALIZEDTIME *out = ASN1_TIME_to_generalizedtime(when, NULL);
    ASN1_TIME_free(when);
    return out;
}

static inline void add_single(OCSP_BASICRESP *basic, const struct response *r,
                              const struct fx_cert *of, int status)
{
    bool dated = r->from != 0 || r->until != 0;
    ASN1_TIME *begin = seconds_from_now(dated ? r->from : -60);
    ASN1_TIME *end = r->endless ? NULL : seconds_from_now(dated ? r->until : FX_DAY);
    ASN1_TIME *when = ASN1_TIME_new();
    assert_int_equal(ASN1_TIME_set_string(when, "20260102030405Z"), 1);
    OCSP_CERTID *id = OCSP_cert_to_id(r->id_digest, of->cert, sub.cert);
    assert_non_null(OCSP_basic_add1_status(basic, id, status, OCSP_REVOKED_STATUS_KEYCOMPROMISE,
                                           status == V_OCSP_CERTSTATUS_REVOKED ? when : NULL, begin,
                                           end));
    OCSP_CERTID_free(id);
    ASN1_TIME_free(begin);
    ASN1_TIME_free(end);
    ASN1_TIME_free(when);
}

static inline struct bytes make_response(const struct response *r)
{
    const struct fx_cert *subject = r->subject != NULL ? r->subject : &good;
    const struct fx_cert *signer = r->signer != NULL ? r->signer : &sub;
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    if (r->also != NULL && !r->also_last)
        add_single(basic, r, r->also, V_OCSP_CERTSTATUS_GOOD);
    add_single(basic, r, subject, r->status);
    if (r->also != NULL && r->also_last)
        add_single(basic, r, r->also, V_OCSP_CERTSTATUS_GOOD);
    assert_int_equal(OCSP_basic_sign(basic, signer->cert, signer->key,
                                     r->digest != NULL ? r->digest : EVP_sha256(), NULL,
                                     r->bare ? OCSP_NOCERTS : 0),
                     1);
    OCSP_RESPONSE *response = OCSP_response_create(r->outer, r->outer == 0 ? basic : NULL);
    assert_non_null(response);
    struct bytes made = {NULL, 0};
    made.length = i2d_OCSP_RESPONSE(response, &made.data);
    assert_true(made.length > 0);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    return made;
}

static inline const char *write_bytes(const char *name, const struct bytes *b)
{
    const char *path = in_dir(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(b->data, 1, (size_t)b->length, file), b->length);
    assert_int_equal(fclose(file), 0);
    return path;
}

static inline const char *write_response(const char *name, const struct response *r)
{
    struct bytes b = make_response(r);
    const char *path = write_bytes(name, &b);
    OPENSSL_free(b.data);
    return path;
}

#endif
