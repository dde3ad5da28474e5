/* tls: session tickets: their keys, and which sessions are resumed by them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_world.h"

#include "tls/tickets.h"

#include <time.h>

#define HOUR     ((long)3600)
#define ROTATION (12 * HOUR * INT64_C(1000)) /* of downstream() */

/* The clock of this program, and of the OpenSSL below it. */
static time_t later;

time_t time(time_t *time_r)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    if (time_r != NULL)
        *time_r = now.tv_sec + later;
    return now.tv_sec + later;
}

/* ---- a listener of ours and a consumer ---- */

struct visit {
    enum fx_state ours, theirs;
    bool resumed;
    char peer[64];        /* CN of the consumer, as we know it afterwards */
    SSL_SESSION *session; /* what the consumer may come back with; owned */
    struct tls_failure failure;
};

static struct visit visit(const struct tls_profile *profile, unsigned worker,
                          const struct fx_peer *peer, SSL_SESSION *with)
{
    struct visit v;
    struct tls_info info;
    memset(&v, 0, sizeof v);
    SSL *ours = tls_session_create(profile, worker, NULL);
    SSL *theirs = fx_peer_create(peer, false);
    assert_non_null(ours);
    if (with != NULL)
        assert_int_equal(SSL_set_session(theirs, with), 1);
    fx_join(ours, theirs);
    fx_handshake(ours, theirs, &v.failure, NULL, &v.ours, &v.theirs);
    tls_session_info(ours, &info);
    v.resumed = info.resumed;
    assert_int_equal(SSL_session_reused(theirs), info.resumed);
    X509 *known = SSL_get0_peer_certificate(ours);
    if (known != NULL)
        (void)X509_NAME_get_text_by_NID(X509_get_subject_name(known), NID_commonName, v.peer,
                                        sizeof v.peer);
    assert_true(v.ours == FX_FAILED || SSL_get_verify_result(ours) == X509_V_OK);
    v.session = SSL_get1_session(theirs);
    SSL_set_shutdown(theirs, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* it stays resumable */
    SSL_free(theirs);
    tls_session_destroy(&ours);
    ERR_clear_error(); /* the peer's */
    return v;
}

/* A full handshake, for its ticket. */
static SSL_SESSION *ticket_of(const struct tls_profile *profile, const struct fx_peer *peer)
{
    struct visit v = visit(profile, 0, peer, NULL);
    assert_int_equal(v.ours, FX_DONE);
    assert_false(v.resumed);
    assert_non_null(v.session);
    return v.session;
}

/* Comes back with the ticket; false: it was a full handshake. Fails if there was none. */
static bool resumes(const struct tls_profile *profile, const struct fx_peer *peer,
                    SSL_SESSION *with)
{
    struct visit v = visit(profile, 0, peer, with);
    if (v.ours != FX_DONE || v.theirs != FX_DONE)
        fail_msg("handshake: %s; %s", v.failure.reason, v.failure.remedy);
    SSL_SESSION_free(v.session);
    return v.resumed;
}

static bool refuses(const struct tls_profile *profile, const struct fx_peer *peer,
                    SSL_SESSION *with)
{
    struct visit v = visit(profile, 0, peer, with);
    SSL_SESSION_free(v.session);
    return v.ours == FX_FAILED;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static const char *keys_file(const char *name, const char *letters)
{
    FILE *file = fopen(in_dir(name), "w");
    assert_non_null(file);
    for (; *letters != '\0'; letters++)
        for (int i = 0; i < 80; i++)
            assert_int_equal(fputc(i < 16 ? *letters : i, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    return in_dir(name);
}

/* ---- keys ---- */

static struct tls_ticket_key sealing(const struct tls_profile *p, int64_t now)
{
    struct tls_ticket_key key;
    assert_true(tls_tickets_seal(p->tickets, now, &key));
    return key;
}

static enum tls_ticket_age opening(const struct tls_profile *p, const struct tls_ticket_key *key,
                                   int64_t now)
{
    struct tls_ticket_key found;
    enum tls_ticket_age age = tls_tickets_open(p->tickets, key->name, now, &found);
    if (age != TLS_TICKET_UNKNOWN)
        assert_memory_equal(&found, key, sizeof found);
    return age;
}

static void test_rotation(void **state)
{
    (void)state;
    struct tls_settings s = downstream();
    struct tls_profile *p = profile_of(&s);
    const int64_t start = 1000;
    struct tls_ticket_key first = sealing(p, start);
    struct tls_ticket_key same = sealing(p, start + ROTATION - 1);
    assert_memory_equal(&first, &same, sizeof first);
    assert_int_equal(opening(p, &first, start + ROTATION - 1), TLS_TICKET_CURRENT);
    /* Opening alone makes it rotate too; late, but on its schedule. */
    assert_int_equal(opening(p, &first, start + ROTATION + ROTATION / 2), TLS_TICKET_OLD);
    struct tls_ticket_key second = sealing(p, start + 2 * ROTATION - 1);
    assert_memory_not_equal(first.name, second.name, sizeof first.name);
    assert_memory_not_equal(first.aes, second.aes, sizeof first.aes);
    assert_memory_not_equal(first.hmac, second.hmac, sizeof first.hmac);
    assert_int_equal(opening(p, &first, start + 2 * ROTATION - 1), TLS_TICKET_OLD);
    assert_int_equal(opening(p, &first, start + 2 * ROTATION), TLS_TICKET_UNKNOWN);
    assert_int_equal(opening(p, &second, start + 2 * ROTATION), TLS_TICKET_OLD);
    /* Nobody came for long. */
    struct tls_ticket_key third = sealing(p, start + 2 * ROTATION);
    assert_int_equal(opening(p, &third, start + 4 * ROTATION), TLS_TICKET_UNKNOWN);
    struct tls_ticket_key fourth = sealing(p, start + 4 * ROTATION);
    assert_memory_not_equal(&third, &fourth, sizeof third);
    assert_int_equal(opening(p, &fourth, start + 5 * ROTATION - 1), TLS_TICKET_CURRENT);
    tls_profile_destroy(&p);
}

/* What a reload may and may not carry over. */
static void test_keys_of_profiles_alike(void **state)
{
    (void)state;
    struct tls_settings s = downstream();
    struct tls_profile *before = profile_of(&s);
    struct tls_ticket_key key = sealing(before, 1);
    struct tls_profile *after = profile_of(&s);
    tls_profile_destroy(&before);
    assert_int_equal(opening(after, &key, 2), TLS_TICKET_CURRENT);

    struct tls_settings other = s;
    other.ticket_rotation_ms++;
    struct tls_profile *apart = profile_of(&other);
    assert_int_equal(opening(apart, &key, 3), TLS_TICKET_UNKNOWN);
    tls_profile_destroy(&apart);
    other = s;
    other.ca_file = in_dir("ca.pem");
    apart = profile_of(&other);
    assert_int_equal(opening(apart, &key, 3), TLS_TICKET_UNKNOWN);
    tls_profile_destroy(&apart);

    tls_profile_destroy(&after); /* the last: its keys go too */
    after = profile_of(&s);
    assert_int_equal(opening(after, &key, 3), TLS_TICKET_UNKNOWN);
    tls_profile_destroy(&after);
}

static void test_file(void **state)
{
    (void)state;
    struct tls_settings s = downstream();
    s.ticket_keys = keys_file("ab.keys", "ab");
    struct tls_profile *p = profile_of(&s);
    struct tls_ticket_key key = sealing(p, 0);
    struct tls_ticket_key later_on = sealing(p, 1000 * ROTATION);
    assert_memory_equal(&key, &later_on, sizeof key);
    assert_int_equal(key.name[0], 'a');
    assert_int_equal(key.hmac[0], 16); /* name, HMAC, AES */
    assert_int_equal(key.aes[0], 48);
    assert_int_equal(opening(p, &key, 0), TLS_TICKET_CURRENT);
    memset(key.name, 'b', sizeof key.name);
    assert_int_equal(opening(p, &key, 0), TLS_TICKET_OLD);
    memset(key.name, 'c', sizeof key.name);
    assert_int_equal(opening(p, &key, 0), TLS_TICKET_UNKNOWN);
    tls_profile_destroy(&p);
}

static void refuse_file(const char *path, const char *says)
{
    struct tls_settings s = downstream();
    struct error err;
    error_init(&err);
    s.ticket_keys = path;
    assert_null(tls_profile_create(&s, &err));
    assert_int_equal(strncmp(err.text, "--listen-ticket-keys '", 22), 0);
    assert_has(err.text, says);
    s.words_of_file = true;
    error_init(&err);
    assert_null(tls_profile_create(&s, &err));
    assert_int_equal(strncmp(err.text, "listen_ticket_keys '", 20), 0);
}

static void test_bad_files(void **state)
{
    static const char zeros[80];
    (void)state;
    refuse_file(in_dir("none.keys"), "No such file");
    refuse_file(dir, "directory");
    fx_write_text(in_dir("bad.keys"), "");
    refuse_file(in_dir("bad.keys"), "empty");
    fx_write_text(in_dir("bad.keys"), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    refuse_file(in_dir("bad.keys"), "48 bytes");
    (void)keys_file("bad.keys", "ab");
    FILE *file = fopen(in_dir("bad.keys"), "a");
    assert_non_null(file);
    assert_int_equal(fputc('\n', file), '\n');
    assert_int_equal(fclose(file), 0);
    refuse_file(in_dir("bad.keys"), "161 bytes");
    (void)keys_file("bad.keys", "a");
    file = fopen(in_dir("bad.keys"), "a");
    assert_non_null(file);
    assert_int_equal(fwrite(zeros, sizeof zeros, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    refuse_file(in_dir("bad.keys"), "key 2 is all zeros");
    char many[66] = "";
    memset(many, 'k', 65);
    refuse_file(keys_file("bad.keys", many), "5200 bytes");
    /* Not read where it is not used. */
    struct tls_settings s = downstream();
    s.ticket_keys = in_dir("none.keys");
    s.tickets = false;
    struct tls_profile *p = profile_of(&s);
    tls_profile_destroy(&p);
}

/* ---- resumption ---- */

static void test_resumption(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct tls_settings s = downstream();
        struct fx_peer peer = {.version = versions[i]};
        s.workers = 2;
        struct tls_profile *p = profile_of(&s);
        SSL_SESSION *ticket = ticket_of(p, &peer);
        struct visit again = visit(p, 1, &peer, ticket); /* at the other worker */
        assert_true(again.resumed);
        /* TLS 1.3 gives another ticket, as each is for one use; TLS 1.2 goes on with this one. */
        size_t length = 0;
        size_t length_again = 0;
        const unsigned char *was = NULL;
        const unsigned char *is = NULL;
        SSL_SESSION_get0_ticket(ticket, &was, &length);
        SSL_SESSION_get0_ticket(again.session, &is, &length_again);
        assert_int_equal(length == length_again && memcmp(was, is, length) == 0,
                         versions[i] == TLS1_2_VERSION);
        assert_true(resumes(p, &peer, again.session));
        SSL_SESSION_free(again.session);
        SSL_SESSION_free(ticket);
        tls_profile_destroy(&p);
    }
}

static void test_no_tickets(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct tls_settings s = downstream();
        struct fx_peer peer = {.version = versions[i]};
        s.tickets = false;
        s.ca_file = in_dir("ca.pem");
        peer.leaf = &client;
        struct tls_profile *p = profile_of(&s);
        SSL_SESSION *session = ticket_of(p, &peer);
        assert_int_equal(SSL_SESSION_has_ticket(session), 0);
        assert_false(resumes(p, &peer, session));
        SSL_SESSION_free(session);
        tls_profile_destroy(&p);
    }
}

static void test_identity_is_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct tls_settings s = downstream();
        struct fx_peer with = {.version = versions[i], .leaf = &client};
        struct fx_peer without = {.version = versions[i]};
        s.ca_file = in_dir("ca.pem");
        struct tls_profile *p = profile_of(&s);
        SSL_SESSION *ticket = ticket_of(p, &with);
        struct visit v = visit(p, 0, &without, ticket);
        assert_int_equal(v.ours, FX_DONE);
        assert_true(v.resumed);
        assert_string_equal(v.peer, "client");
        /* And once more, with the ticket of the resumed session. */
        struct visit w = visit(p, 0, &without, v.session);
        assert_true(w.resumed);
        assert_string_equal(w.peer, "client");
        SSL_SESSION_free(w.session);
        SSL_SESSION_free(v.session);
        SSL_SESSION_free(ticket);
        tls_profile_destroy(&p);
    }
}

/* One file of keys everywhere; what differs is all else. */
static void test_stricter_listeners(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        const struct fx_peer with = {.version = versions[i], .leaf = &client};
        const struct fx_peer without = {.version = versions[i]};
        struct tls_settings open = downstream();
        open.ticket_keys = keys_file("a.keys", "a");
        struct tls_settings required = open;
        required.ca_file = in_dir("ca.pem");
        struct tls_settings narrow = required;
        narrow.allow_cn = one_text("cli*");
        struct tls_settings elsewhere = required;
        elsewhere.ca_file = in_dir("other.pem");

        struct tls_profile *a = profile_of(&open);
        struct tls_profile *b = profile_of(&required);
        struct tls_profile *c = profile_of(&narrow);
        struct tls_profile *d = profile_of(&elsewhere);
        SSL_SESSION *ticket = ticket_of(a, &without);
        assert_true(resumes(a, &without, ticket));
        assert_true(refuses(b, &without, ticket));
        assert_false(resumes(b, &with, ticket)); /* but a full handshake does */
        SSL_SESSION_free(ticket);
        ticket = ticket_of(b, &with);
        assert_false(resumes(c, &with, ticket));
        assert_true(refuses(c, &without, ticket));
        assert_true(refuses(d, &with, ticket));
        assert_false(resumes(a, &with, ticket)); /* nor at a laxer one */
        /* Another gateway with the same settings. */
        struct tls_profile *twin = profile_of(&required);
        assert_true(resumes(twin, &without, ticket));
        SSL_SESSION_free(ticket);
        struct tls_profile **all[] = {&a, &b, &c, &d, &twin};
        for (size_t j = 0; j < COUNT(all); j++)
            tls_profile_destroy(all[j]);
    }
}

static void test_other_names_and_ciphers(void **state)
{
    (void)state;
    struct fx_cert renewed = fx_make(&(struct fx_spec){
        .cn = "new", .issuer = &root, .san = "DNS:good.test,DNS:*.wild.test,IP:192.0.2.1,IP:::1"});
    struct fx_cert stranger =
        fx_make(&(struct fx_spec){.cn = "new", .issuer = &root, .san = "DNS:bad.test"});
    fx_write(in_dir("renewed.pem"), "w", renewed.cert, renewed.key);
    fx_write(in_dir("stranger.pem"), "w", stranger.cert, stranger.key);
    for (size_t i = 0; i < COUNT(versions); i++) {
        const struct fx_peer peer = {.version = versions[i]};
        struct tls_settings s = downstream();
        s.ticket_keys = keys_file("a.keys", "a");
        struct tls_profile *p = profile_of(&s);
        SSL_SESSION *ticket = ticket_of(p, &peer);
        tls_profile_destroy(&p);
        s.keys = (struct tls_texts){0};
        s.certs = one_text(in_dir("renewed.pem"));
        p = profile_of(&s);
        assert_true(resumes(p, &peer, ticket));
        tls_profile_destroy(&p);
        s.certs = one_text(in_dir("stranger.pem"));
        p = profile_of(&s);
        assert_false(resumes(p, &peer, ticket));
        tls_profile_destroy(&p);
        s.certs = one_text(in_dir("renewed.pem"));
        s.ciphers = "ECDHE+AESGCM";
        p = profile_of(&s);
        assert_false(resumes(p, &peer, ticket));
        tls_profile_destroy(&p);
        SSL_SESSION_free(ticket);
    }
    fx_free(&renewed);
    fx_free(&stranger);
}

/* A gateway whose file has a newer key in front. */
static void test_renewal(void **state)
{
    (void)state;
    const struct fx_peer peer = {.version = TLS1_2_VERSION};
    struct tls_settings s = downstream();
    s.ticket_keys = keys_file("a.keys", "a");
    struct tls_profile *old = profile_of(&s);
    s.ticket_keys = keys_file("ba.keys", "ba");
    struct tls_profile *now = profile_of(&s);
    SSL_SESSION *ticket = ticket_of(old, &peer);
    struct visit v = visit(now, 0, &peer, ticket);
    assert_true(v.resumed);
    const unsigned char *bytes = NULL;
    size_t length = 0;
    SSL_SESSION_get0_ticket(v.session, &bytes, &length);
    assert_true(length > 16);
    assert_int_equal(bytes[0], 'b');
    assert_true(resumes(now, &peer, v.session));
    assert_false(resumes(old, &peer, v.session)); /* does not know that key: a full handshake */
    SSL_SESSION_free(v.session);
    SSL_SESSION_free(ticket);
    tls_profile_destroy(&old);
    tls_profile_destroy(&now);
}

/* ---- time ---- */

static void test_age_is_that_of_the_full_handshake(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        const struct fx_peer peer = {.version = versions[i]};
        struct tls_settings s = downstream();
        s.ticket_keys = keys_file("a.keys", "a");
        struct tls_profile *p = profile_of(&s);
        SSL_SESSION *first = ticket_of(p, &peer);
        assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(first), 24 * HOUR);
        later = 20 * HOUR;
        struct visit v = visit(p, 0, &peer, first);
        assert_true(v.resumed);
        later = 25 * HOUR;
        assert_false(resumes(p, &peer, v.session));
        later = 0;
        SSL_SESSION_free(v.session);
        SSL_SESSION_free(first);
        tls_profile_destroy(&p);
    }
}

static void test_lifetime_is_bounded(void **state)
{
    static const struct {
        int64_t rotation_ms;
        unsigned long hint;
    } rows[] = {
        {1000, 2}, {HOUR * 1000, 2UL * 3600}, {30 * (24 * HOUR) * INT64_C(1000), 7UL * 24 * 3600}};
    (void)state;
    for (size_t i = 0; i < COUNT(rows) * COUNT(versions); i++) {
        const struct fx_peer peer = {.version = versions[i / COUNT(rows)]};
        struct tls_settings s = downstream();
        s.ticket_rotation_ms = rows[i % COUNT(rows)].rotation_ms;
        struct tls_profile *p = profile_of(&s);
        SSL_SESSION *ticket = ticket_of(p, &peer);
        assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(ticket), rows[i % COUNT(rows)].hint);
        SSL_SESSION_free(ticket);
        tls_profile_destroy(&p);
    }
}

/* What its verification stands on ends in two hours. */
static void check_end(const struct fx_cert *leaf, const struct fx_cert *issuer)
{
    for (size_t i = 0; i < COUNT(versions); i++) {
        const struct fx_peer with = {.version = versions[i], .leaf = leaf, .chain = {issuer}};
        const struct fx_peer without = {.version = versions[i]};
        struct tls_settings s = downstream();
        s.ca_file = in_dir("ca.pem");
        struct tls_profile *p = profile_of(&s);
        SSL_SESSION *ticket = ticket_of(p, &with);
        later = HOUR;
        assert_true(resumes(p, &without, ticket));
        later = 3 * HOUR;
        assert_true(refuses(p, &without, ticket));
        assert_true(refuses(p, &with, ticket));
        /* Whoever has a new certificate by then gets in, by a full handshake. */
        const struct fx_peer renewed = {.version = versions[i], .leaf = &client};
        assert_false(resumes(p, &renewed, ticket));
        later = 0;
        SSL_SESSION_free(ticket);
        tls_profile_destroy(&p);
    }
}

static void test_expired_consumer(void **state)
{
    (void)state;
    struct fx_cert brief = fx_make(
        &(struct fx_spec){.cn = "brief", .issuer = &root, .from = -HOUR, .until = 2 * HOUR});
    check_end(&brief, NULL);
    struct fx_cert ca = fx_make(&(struct fx_spec){
        .cn = "brief CA", .issuer = &root, .ca = true, .from = -HOUR, .until = 2 * HOUR});
    struct fx_cert leaf = fx_make(&(struct fx_spec){.cn = "leaf", .issuer = &ca});
    check_end(&leaf, &ca);
    fx_free(&leaf);
    fx_free(&ca);
    fx_free(&brief);
}

/* ---- other programs with the same file ---- */

static SSL_CTX *plain_server(SSL_SESSION *like)
{
    unsigned char keys[80];
    unsigned length = 0;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(ctx);
    assert_int_equal(SSL_CTX_use_certificate(ctx, good.cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, good.key), 1);
    FILE *file = fopen(in_dir("a.keys"), "r");
    assert_non_null(file);
    assert_int_equal(fread(keys, sizeof keys, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(SSL_CTX_set_tlsext_ticket_keys(ctx, keys, sizeof keys), 1);
    const unsigned char *context = SSL_SESSION_get0_id_context(like, &length);
    assert_int_equal(SSL_CTX_set_session_id_context(ctx, context, length), 1);
    return ctx;
}

/* Not even with our session context is a ticket of theirs taken: it does not say when and until
 * when its consumer was verified. Ours is taken by OpenSSL's own handling of the 80 bytes. */
static void test_other_programs(void **state)
{
    const struct fx_peer peer = {.version = TLS1_2_VERSION};
    enum fx_state here;
    enum fx_state there;
    (void)state;
    struct tls_settings s = downstream();
    s.ticket_keys = keys_file("a.keys", "a");
    struct tls_profile *p = profile_of(&s);
    SSL *at_ours = tls_session_create(p, 0, NULL);
    SSL *theirs = fx_peer_create(&peer, false);
    fx_join(at_ours, theirs);
    fx_handshake(at_ours, theirs, NULL, NULL, &here, &there);
    assert_int_equal(here, FX_DONE);
    SSL_CTX *ctx = plain_server(SSL_get_session(at_ours));
    SSL_SESSION *of_ours = SSL_get1_session(theirs);
    SSL_set_shutdown(theirs, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(theirs);
    tls_session_destroy(&at_ours);

    SSL_SESSION *of_plain = NULL;
    for (int round = 0; round < 2; round++) {
        SSL *plain = SSL_new(ctx);
        SSL_set_accept_state(plain);
        theirs = fx_peer_create(&peer, false);
        if (round == 0)
            assert_int_equal(SSL_set_session(theirs, of_ours), 1);
        fx_join(plain, theirs);
        fx_handshake(plain, theirs, NULL, NULL, &here, &there);
        assert_int_equal(here, FX_DONE);
        assert_int_equal(SSL_session_reused(plain), round == 0);
        if (round == 1)
            of_plain = SSL_get1_session(theirs);
        SSL_set_shutdown(theirs, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(theirs);
        SSL_free(plain);
    }
    assert_true(resumes(p, &peer, of_ours));
    assert_false(resumes(p, &peer, of_plain));
    SSL_SESSION_free(of_plain);
    SSL_SESSION_free(of_ours);
    SSL_CTX_free(ctx);
    tls_profile_destroy(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_keys_of_profiles_alike),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_resumption),
        cmocka_unit_test(test_no_tickets),
        cmocka_unit_test(test_identity_is_kept),
        cmocka_unit_test(test_stricter_listeners),
        cmocka_unit_test(test_other_names_and_ciphers),
        cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_age_is_that_of_the_full_handshake),
        cmocka_unit_test(test_lifetime_is_bounded),
        cmocka_unit_test(test_expired_consumer),
        cmocka_unit_test(test_other_programs),
    };
    return cmocka_run_group_tests_name("tickets", tests, world_setup, world_teardown);
}
