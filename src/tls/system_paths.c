/* What OpenSSL reads by itself, by its build and the environment. */
#include <esclusa/tls.h>

#include <openssl/crypto.h>
#include <openssl/x509.h>

#include <stdio.h>
#include <stdlib.h>

static const char *named(const char *variable, const char *otherwise)
{
    const char *value = getenv(variable);
    return value != NULL && value[0] != '\0' ? value : otherwise;
}

void tls_system_paths(void (*tell)(void *context, const char *path, bool renewed), void *context)
{
    char path[4096];
    const char *conf = getenv("OPENSSL_CONF");
    const char *modules = named("OPENSSL_MODULES", OPENSSL_info(OPENSSL_INFO_MODULES_DIR));
    if (modules != NULL)
        tell(context, modules, false); /* providers */
    tell(context, named(X509_get_default_cert_file_env(), X509_get_default_cert_file()), true);
    /* A list, separated by colons: X509_LOOKUP_hash_dir(3). */
    const char *dirs = named(X509_get_default_cert_dir_env(), X509_get_default_cert_dir());
    while (*dirs != '\0') {
        size_t length = 0;
        while (*dirs != '\0' && *dirs != ':' && length < sizeof path - 1)
            path[length++] = *dirs++;
        path[length] = '\0';
        if (length > 0)
            tell(context, path, true);
        dirs += *dirs == ':';
    }
    if (conf == NULL || conf[0] == '\0') {
        snprintf(path, sizeof path, "%s/openssl.cnf", X509_get_default_cert_area());
        conf = path;
    }
    tell(context, conf, false);
}
