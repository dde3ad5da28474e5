/* What is behind a URI of OpenSSL's store. */
#include "store_uri.h"

#include <esclusa/file.h>

#include <ctype.h>
#include <openssl/err.h>
#include <openssl/store.h>
#include <openssl/storeerr.h>
#include <openssl/ui.h>
#include <string.h>
#include <unistd.h>

/* A token or a directory may hold any number of things. */
#define OBJECTS_MAX      1000
#define CERTIFICATES_MAX 100

/* One walk over what is behind a URI, and the words for its errors. */
struct walk {
    const char *uri;
    const char *option;
    struct tls_passphrase *passphrase;
    int kind; /* OSSL_STORE_INFO_CERT or OSSL_STORE_INFO_PKEY */
    STACK_OF(X509) * certificates;
    struct store_keys *keys;
    bool no_memory;
};

static size_t scheme_length(const char *text)
{
    size_t length = 0;
    while (isalnum((unsigned char)text[length]) ||
           (text[length] != '\0' && strchr("+-.", text[length]) != NULL))
        length++;
    return length;
}

bool store_is_uri(const char *text)
{
    size_t scheme = scheme_length(text);
    return scheme >= 2 && isalpha((unsigned char)text[0]) && text[scheme] == ':' &&
           access(text, F_OK) != 0;
}

/* ---- what went wrong ---- */

static const char *reason_of(unsigned long code)
{
    static _Thread_local char storage[128];
    if (ERR_SYSTEM_ERROR(code))
        return strerror_r(ERR_GET_REASON(code), storage, sizeof storage);
    const char *reason = ERR_reason_error_string(code);
    return reason != NULL ? reason : "unknown error";
}

/* The file store is tried for any URI and fails first: what counts is the newest error, or a word
 * on the scheme. */
static bool open_failed(const struct walk *w, struct error *err)
{
    int scheme = (int)scheme_length(w->uri);
    bool unknown = false;
    unsigned long last = ERR_peek_last_error();
    unsigned long code;
    while ((code = ERR_get_error()) != 0)
        unknown = unknown || (ERR_GET_LIB(code) == ERR_LIB_OSSL_STORE &&
                              ERR_GET_REASON(code) == ERR_R_UNSUPPORTED);
    if (!unknown || strncasecmp(w->uri, "file:", 5) == 0)
        return error_set(err, "%s '%s': %s", w->option, w->uri, reason_of(last));
    if (strncasecmp(w->uri, "pkcs11:", 7) == 0)
        return error_set(err,
                         "%s '%s': OpenSSL has nothing that opens 'pkcs11:': install a provider "
                         "for it (pkcs11-provider) and activate it in openssl.cnf",
                         w->option, w->uri);
    return error_set(err,
                     "%s '%s': OpenSSL has nothing that opens '%.*s:': give a file, or install a "
                     "provider for it and activate it in openssl.cnf",
                     w->option, w->uri, scheme, w->uri);
}

static bool found_nothing(const struct walk *w, unsigned long cause, struct error *err)
{
    const char *what = w->kind == OSSL_STORE_INFO_CERT ? "certificate" : "private key";
    const struct tls_passphrase *p = w->passphrase;
    if (w->no_memory)
        return error_set(err, "%s '%s': no memory", w->option, w->uri);
    if (p->asked && !p->given)
        return error_set(err,
                         "%s '%s': a passphrase or PIN is needed: say where it is with %s "
                         "(file:PATH or env:NAME)",
                         w->option, w->uri, p->option);
    if (p->asked) /* a provider may leave no reason behind */
        return error_set(err, "%s '%s': no %s could be read there with the passphrase of %s%s%s",
                         w->option, w->uri, what, p->option, cause != 0 ? ": " : "",
                         cause != 0 ? reason_of(cause) : "");
    if (cause != 0)
        return error_set(err, "%s '%s': no %s could be read there: %s", w->option, w->uri, what,
                         reason_of(cause));
    return error_set(err, "%s '%s': there is no %s", w->option, w->uri, what);
}

/* RFC 7512 2.4 has attributes for the PIN and for a file that holds it. The first would put a
 * secret on the command line, into logs and into our own texts. */
static bool pin_check(const struct walk *w, struct error *err)
{
    static const char attribute[] = "pin-value=";
    const char *at = strstr(w->uri, attribute);
    if (at == NULL || (at > w->uri && strchr("?&;:", at[-1]) == NULL))
        return true;
    return error_set(err,
                     "%s: a PIN must not be in the URI (pin-value): say where it is with %s "
                     "(file:PATH or env:NAME)",
                     w->option, w->passphrase->option);
}

/* The path in file:PATH, file:///PATH or file://localhost/PATH (RFC 8089 2, without its escapes),
 * as OpenSSL opens it; NULL: another scheme. */
static const char *file_path(const char *uri)
{
    static const char scheme[] = "file:";
    static const char local[] = "//localhost/";
    if (strncasecmp(uri, scheme, sizeof scheme - 1) != 0)
        return NULL;
    const char *path = uri + sizeof scheme - 1;
    if (strncasecmp(path, local, sizeof local - 1) == 0)
        return path + sizeof local - 2;
    return strncmp(path, "///", 3) == 0 ? path + 2 : path;
}

/* OpenSSL would wait for a FIFO, and read a device for as long as it gives something. */
static bool file_check(const struct walk *w, struct error *err)
{
    const char *path = file_path(w->uri);
    const char *why = path != NULL ? file_unfit(path) : NULL;
    return why == NULL || error_set(err, "%s '%s': %s", w->option, w->uri, why);
}

/* ---- the walk ---- */

static void take(struct walk *w, const OSSL_STORE_INFO *info)
{
    if (OSSL_STORE_INFO_get_type(info) != w->kind)
        return;
    if (w->kind == OSSL_STORE_INFO_PKEY) {
        if (w->keys->count < STORE_KEYS_MAX)
            w->keys->items[w->keys->count++] = OSSL_STORE_INFO_get1_PKEY(info);
        return;
    }
    if (sk_X509_num(w->certificates) >= CERTIFICATES_MAX)
        return;
    X509 *certificate = OSSL_STORE_INFO_get1_CERT(info);
    if (sk_X509_push(w->certificates, certificate) <= 0) {
        X509_free(certificate);
        w->no_memory = true;
    }
}

static bool walk(struct walk *w, OSSL_STORE_CTX *store, struct error *err)
{
    unsigned long cause = 0;
    int before = w->kind == OSSL_STORE_INFO_CERT ? sk_X509_num(w->certificates) : 0;
    (void)OSSL_STORE_expect(store, w->kind);
    ERR_clear_error();
    for (int i = 0; i < OBJECTS_MAX && OSSL_STORE_eof(store) == 0; i++) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info != NULL)
            take(w, info);
        else if (cause == 0)
            cause = ERR_peek_last_error(); /* the end of some sources looks like this too: 0 */
        OSSL_STORE_INFO_free(info);
        ERR_clear_error();
    }
    bool found = w->kind == OSSL_STORE_INFO_CERT ? sk_X509_num(w->certificates) > before
                                                 : w->keys->count > 0;
    return (found && !w->no_memory) || found_nothing(w, cause, err);
}

static bool open_and_walk(struct walk *w, struct error *err)
{
    if (!pin_check(w, err) || !file_check(w, err))
        return false;
    UI_METHOD *ui = UI_UTIL_wrap_read_pem_callback(tls_passphrase_answer, 0);
    if (ui == NULL)
        return error_set(err, "%s '%s': no memory", w->option, w->uri);
    w->passphrase->asked = false;
    /* A provider that gets no answer may ask by itself (pkcs11-provider does), at the terminal. */
    UI_set_default_method(UI_null());
    ERR_clear_error();
    OSSL_STORE_CTX *store = OSSL_STORE_open(w->uri, ui, w->passphrase, NULL, NULL);
    bool done = store != NULL ? walk(w, store, err) : open_failed(w, err);
    (void)OSSL_STORE_close(store);
    UI_destroy_method(ui);
    ERR_clear_error();
    return done;
}

bool store_certificates(const char *uri, const char *option, struct tls_passphrase *passphrase,
                        STACK_OF(X509) * list, struct error *err)
{
    struct walk w = {.uri = uri,
                     .option = option,
                     .passphrase = passphrase,
                     .kind = OSSL_STORE_INFO_CERT,
                     .certificates = list};
    return open_and_walk(&w, err);
}

bool store_keys_read(struct store_keys *keys, const char *uri, const char *option,
                     struct tls_passphrase *passphrase, struct error *err)
{
    struct walk w = {.uri = uri,
                     .option = option,
                     .passphrase = passphrase,
                     .kind = OSSL_STORE_INFO_PKEY,
                     .keys = keys};
    return open_and_walk(&w, err);
}

void store_keys_free(struct store_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        EVP_PKEY_free(keys->items[i]);
    keys->count = 0;
}
