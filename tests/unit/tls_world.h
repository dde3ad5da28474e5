/* What the tests of the tls module share: a directory of certificates, made once, and a meeting of
 * a session of ours with a peer of OpenSSL's. Include <cmocka.h> and what it needs before this. */
#ifndef ESCLUSA_TESTS_TLS_WORLD_H
#define ESCLUSA_TESTS_TLS_WORLD_H

#include "tls_fixture.h"

#include <esclusa/str.h>
#include <ftw.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* What all tests use: made once, read only. */
static char dir[64];
static struct fx_cert root, sub, other_root, good, client, other_client;

static inline const char *in_dir(const char *name)
{
    static char paths[64][512]; /* many at a time */
    static unsigned next;
    char *path = paths[next++ % 64];
    (void)snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static inline int world_setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/esclusa-tls-XXXXXX");
    assert_non_null(mkdtemp(dir));
    root = fx_make(&(struct fx_spec){.cn = "Root", .ca = true});
    other_root = fx_make(&(struct fx_spec){.cn = "Other Root", .ca = true});
    sub = fx_make(&(struct fx_spec){.cn = "Sub", .issuer = &root, .ca = true});
    good = fx_make(&(struct fx_spec){
        .cn = "good", .issuer = &sub, .san = "DNS:good.test,DNS:*.wild.test,IP:192.0.2.1,IP:::1"});
    client = fx_make(&(struct fx_spec){.cn = "client", .issuer = &root});
    other_client = fx_make(&(struct fx_spec){.cn = "other client", .issuer = &other_root});
    fx_write(in_dir("ca.pem"), "w", root.cert, NULL);
    fx_write(in_dir("other.pem"), "w", other_root.cert, NULL);
    fx_write(in_dir("good.pem"), "w", good.cert, NULL);
    fx_write(in_dir("good.pem"), "a", sub.cert, NULL);
    fx_write(in_dir("good.key"), "w", NULL, good.key);
    fx_write(in_dir("client.pem"), "w", client.cert, client.key);
    fx_write(in_dir("other-client.pem"), "w", other_client.cert, other_client.key);
    return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static inline int world_teardown(void **state)
{
    (void)state;
    struct fx_cert *all[] = {&root, &sub, &other_root, &good, &client, &other_client};
    for (size_t i = 0; i < COUNT(all); i++)
        fx_free(all[i]);
    assert_int_equal(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    return 0;
}

/* ---- helpers ---- */

/* A list of one; lives as long as the next 63. */
static inline struct tls_texts one_text(const char *text)
{
    static const char *slots[64];
    static unsigned next;
    const char **slot = &slots[next++ % 64];
    *slot = text;
    return (struct tls_texts){slot, 1};
}

/* What the options' defaults are, and a CA. */
static inline struct tls_settings upstream(void)
{
    return (struct tls_settings){.role = TLS_UPSTREAM,
                                 .ca_file = in_dir("ca.pem"),
                                 .strict = TLS_STRICT_REPORT,
                                 .names_policy = TLS_POLICY_ENFORCE,
                                 .pins_policy = TLS_POLICY_ENFORCE,
                                 .revocation_policy = TLS_POLICY_ENFORCE,
                                 .security_level = 2,
                                 .workers = 1};
}

static inline struct tls_settings downstream(void)
{
    return (struct tls_settings){.role = TLS_DOWNSTREAM,
                                 .strict = TLS_STRICT_OFF,
                                 .names_policy = TLS_POLICY_ENFORCE,
                                 .pins_policy = TLS_POLICY_ENFORCE,
                                 .revocation_policy = TLS_POLICY_ENFORCE,
                                 .certs = one_text(in_dir("good.pem")),
                                 .keys = one_text(in_dir("good.key")),
                                 .security_level = 2,
                                 .tickets = true,
                                 .ticket_rotation_ms = 12 * 3600 * INT64_C(1000),
                                 .workers = 1};
}

static inline struct tls_profile *profile_of(const struct tls_settings *settings)
{
    struct error err;
    error_init(&err);
    struct tls_profile *profile = tls_profile_create(settings, &err);
    if (profile == NULL)
        fail_msg("%s", err.text);
    return profile;
}

static inline void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static inline struct tls_name name_of(const char *text)
{
    struct tls_name name;
    assert_true(tls_name_set(&name, text, NULL));
    return name;
}

/* An upstream that is asked for by its name, and must bear it. */
struct named_peer {
    struct tls_name name;
    struct tls_peer peer;
};

static inline const struct tls_peer *peer_named(struct named_peer *p, const char *text)
{
    p->name = name_of(text);
    p->peer =
        (struct tls_peer){.server_name = p->name, .names = &p->name, .name_count = 1, .id = 1};
    return &p->peer;
}

/* What our side says after a handshake with a peer that has no rules of its own. */
struct outcome {
    enum fx_state ours, theirs;
    struct tls_failure failure;
    struct tls_info info;
    char sni[256];
};

static inline struct outcome meet(const struct tls_settings *settings, const char *expected,
                                  const struct fx_peer *peer)
{
    struct outcome o;
    struct named_peer named;
    memset(&o, 0, sizeof o);
    bool up = settings->role == TLS_UPSTREAM;
    struct tls_profile *profile = profile_of(settings);
    SSL *ours = tls_session_create(profile, 0, up ? peer_named(&named, expected) : NULL);
    SSL *theirs = fx_peer_create(peer, up);
    assert_non_null(ours);
    fx_join(ours, theirs);
    fx_handshake(ours, theirs, &o.failure, NULL, &o.ours, &o.theirs);
    tls_session_info(ours, &o.info);
    if (up && SSL_get_servername(theirs, TLSEXT_NAMETYPE_host_name) != NULL)
        (void)str_copy(o.sni, sizeof o.sni, SSL_get_servername(theirs, TLSEXT_NAMETYPE_host_name));
    tls_session_destroy(&ours);
    assert_null(ours);
    SSL_free(theirs);
    tls_profile_destroy(&profile);
    assert_null(profile);
    assert_int_equal(ERR_peek_error(), 0);
    return o;
}

#endif
