/* What is kept of the certificates that an upstream shows, and told of those that are loaded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_world.h"

#include "tls_crl.h"

#include <time.h>

static int64_t in(long seconds)
{
    return (int64_t)time(NULL) + seconds;
}

static void assert_near(int64_t a, int64_t b)
{
    if (a < b - 60 || a > b + 60)
        fail_msg("%lld is not about %lld", (long long)a, (long long)b);
}

/* One full handshake with an upstream that shows these. */
static void show(struct tls_settings *settings, const struct fx_peer *peer, struct tls_seen *seen,
                 bool good_wanted, struct tls_failure *f)
{
    struct named_peer named;
    enum fx_state ours_state, theirs_state;
    (void)peer_named(&named, "c.test");
    named.peer.seen = seen;
    struct tls_profile *profile = profile_of(settings);
    SSL *ours = tls_session_create(profile, 0, &named.peer);
    SSL *theirs = fx_peer_create(peer, true);
    assert_non_null(ours);
    fx_join(ours, theirs);
    fx_handshake(ours, theirs, f, NULL, &ours_state, &theirs_state);
    assert_int_equal(ours_state == FX_DONE, good_wanted);
    assert_false(tls_session_resumed(ours));
    tls_session_destroy(&ours);
    SSL_free(theirs);
    tls_profile_destroy(&profile);
}

static void the_ends_are_noted(void **state)
{
    (void)state;
    struct tls_failure f;
    struct tls_seen seen = {0};
    struct tls_settings s = upstream();
    struct fx_cert short_sub = fx_make(&(struct fx_spec){
        .cn = "Short", .issuer = &root, .ca = true, .from = -FX_DAY, .until = 3600});
    struct fx_cert leaf = fx_make(&(struct fx_spec){
        .cn = "x", .issuer = &short_sub, .san = "DNS:c.test", .from = -FX_DAY, .until = 7200});
    const struct fx_peer peer = {.leaf = &leaf, .chain = {&short_sub}};
    show(&s, &peer, &seen, true, &f);
    assert_near(atomic_load(&seen.seen_s), in(0));
    assert_near(atomic_load(&seen.leaf_not_after_s), in(7200));
    assert_near(atomic_load(&seen.chain_not_after_s), in(3600));
    /* What was sent and is in no chain does not count. */
    const struct fx_peer more = {.leaf = &good, .chain = {&sub, &short_sub}};
    s.names_policy = TLS_POLICY_REPORT;
    show(&s, &more, &seen, true, &f);
    assert_near(atomic_load(&seen.chain_not_after_s), in(FX_DAY));
    /* Nothing is verified, and the dates are known all the same. */
    s.insecure_skip_verify = true;
    show(&s, &peer, &seen, true, &f);
    assert_near(atomic_load(&seen.chain_not_after_s), in(3600));
    show(&s, &peer, NULL, true, &f); /* nobody wants to know */
    fx_free(&leaf);
    fx_free(&short_sub);
}

static void those_of_one_that_is_refused_too(void **state)
{
    (void)state;
    struct tls_failure f;
    struct tls_seen seen = {0};
    struct tls_settings s = upstream();
    struct fx_cert leaf = fx_make(&(struct fx_spec){
        .cn = "late", .issuer = &sub, .san = "DNS:c.test", .from = -9 * FX_DAY, .until = -FX_DAY});
    const struct fx_peer peer = {.leaf = &leaf, .chain = {&sub}};
    show(&s, &peer, &seen, false, &f);
    assert_near(atomic_load(&seen.leaf_not_after_s), in(-FX_DAY));
    assert_near(atomic_load(&seen.chain_not_after_s), in(-FX_DAY));
    assert_string_equal(f.chain, "CN=late\nCN=Sub");
    fx_free(&leaf);
}

static void a_long_chain_is_cut_at_a_whole_subject(void **state)
{
    (void)state;
    struct tls_failure f;
    struct tls_settings s = upstream();
    const char *name = "a name that is long, so that four of them are too many; \" \n";
    struct fx_cert leaf =
        fx_make(&(struct fx_spec){.cn = name, .org = name, .issuer = &other_root});
    struct fx_cert ca = fx_make(&(struct fx_spec){.cn = name, .org = name, .ca = true});
    const struct fx_peer peer = {.leaf = &leaf, .chain = {&ca, &ca, &ca}};
    show(&s, &peer, NULL, false, &f);
    assert_true(strlen(f.chain) < sizeof f.chain);
    assert_null(strchr(f.chain, '"'));
    unsigned lines = 1;
    for (const char *p = f.chain; *p != '\0'; p++)
        lines += *p == '\n';
    assert_in_range(lines, 2, 4);  /* and none of a newline of the peer's */
    *strchr(f.chain, '\n') = '\0'; /* the first and the last are the same name, both whole */
    const char *last = strrchr(f.chain + strlen(f.chain) + 1, '\n') + 1;
    assert_string_equal(last, f.chain);
    fx_free(&leaf);
    fx_free(&ca);
}

struct told {
    unsigned count;
    int64_t end_s;
    char who[256];
};

static void note_crl(void *context, const struct tls_crl *crl)
{
    struct told *t = context;
    t->count++;
    t->end_s = crl->next_update_s;
    (void)str_copy(t->who, sizeof t->who, crl->issuer);
}

static void note_certificate(void *context, const struct tls_certificate *c)
{
    struct told *t = context;
    t->count++;
    t->end_s = c->not_after_s;
    (void)str_copy(t->who, sizeof t->who, c->subject);
}

static void what_is_loaded_is_told(void **state)
{
    (void)state;
    struct told t = {0};
    struct tls_settings s = upstream();
    struct tls_profile *profile = profile_of(&s);
    tls_profile_certificates(profile, note_certificate, &t);
    assert_int_equal(t.count, 1);
    assert_near(t.end_s, in(FX_DAY));
    assert_string_equal(t.who, "CN=Root");
    t = (struct told){0};
    tls_profile_crls(profile, note_crl, &t);
    assert_int_equal(t.count, 0);
    tls_profile_destroy(&profile);

    crl_until = 5400;
    s.crl_file = crl_file("crl.pem", &root, NULL, "w");
    profile = profile_of(&s);
    tls_profile_crls(profile, note_crl, &t);
    assert_int_equal(t.count, 1);
    assert_near(t.end_s, in(5400));
    assert_string_equal(t.who, "CN=Root");
    tls_profile_destroy(&profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ends_are_noted),
        cmocka_unit_test(those_of_one_that_is_refused_too),
        cmocka_unit_test(a_long_chain_is_cut_at_a_whole_subject),
        cmocka_unit_test(what_is_loaded_is_told),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
