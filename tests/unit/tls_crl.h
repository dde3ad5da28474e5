/* Revocation lists made at test time. Include "tls_world.h" before this. */
#ifndef ESCLUSA_TESTS_TLS_CRL_H
#define ESCLUSA_TESTS_TLS_CRL_H

#define CRL_LIFE 7200 /* seconds from now */

/* Whether lists name their issuer's key, as RFC 5280 5.2.1 wants it. */
static bool crl_names_key = true;
/* Seconds from now. */
static long crl_from = -FX_DAY, crl_until = CRL_LIFE;

/* A list of that issuer with that one entry (NULL: none), PEM, in a file of the tests' directory;
 * mode "w" or "a". Returns the file's path. */
static inline const char *crl_file(const char *name, const struct fx_cert *issuer,
                                   const struct fx_cert *revoked, const char *mode)
{
    const char *path = in_dir(name);
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *time = ASN1_TIME_new();
    assert_int_equal(X509_CRL_set_version(crl, X509_CRL_VERSION_2), 1);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->cert));
    X509_CRL_set1_lastUpdate(crl, X509_gmtime_adj(time, crl_from));
    X509_CRL_set1_nextUpdate(crl, X509_gmtime_adj(time, crl_until));
    if (revoked != NULL) {
        X509_REVOKED *entry = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->cert));
        X509_REVOKED_set_revocationDate(entry, X509_gmtime_adj(time, -3600));
        assert_int_equal(X509_CRL_add0_revoked(crl, entry), 1);
    }
    if (crl_names_key) {
        AUTHORITY_KEYID *key = AUTHORITY_KEYID_new();
        key->keyid = ASN1_OCTET_STRING_dup(X509_get0_subject_key_id(issuer->cert));
        assert_non_null(key->keyid);
        assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_authority_key_identifier, key, 0, 0), 1);
        AUTHORITY_KEYID_free(key);
    }
    assert_true(X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    assert_int_equal(PEM_write_X509_CRL(file, crl), 1);
    assert_int_equal(fclose(file), 0);
    ASN1_TIME_free(time);
    X509_CRL_free(crl);
    return path;
}

#endif
