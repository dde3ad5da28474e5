/* Messages after the handshake: what is a flood, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_world.h"

#include <esclusa/clock.h>

#define MOST   32
#define WINDOW 10000
#define EXCUSE ((size_t)64 * 1024)

/* A session of ours and its peer, the handshake done, the guard armed. */
struct pair {
    struct tls_profile *profile;
    struct named_peer named;
    SSL *ours, *theirs;
    struct tls_flood flood;
};

static void pair_init(struct pair *p, bool up)
{
    const struct tls_settings settings = up ? upstream() : downstream();
    const struct fx_peer peer = {
        .leaf = up ? &good : NULL, .chain = {up ? &sub : NULL}, .version = TLS1_3_VERSION};
    enum fx_state ours;
    enum fx_state theirs;
    memset(p, 0, sizeof *p);
    p->profile = profile_of(&settings);
    p->ours = tls_session_create(p->profile, 0, up ? peer_named(&p->named, "good.test") : NULL);
    p->theirs = fx_peer_create(&peer, up);
    fx_join(p->ours, p->theirs);
    fx_handshake(p->ours, p->theirs, NULL, NULL, &ours, &theirs);
    assert_int_equal(ours, FX_DONE);
    assert_int_equal(theirs, FX_DONE);
    tls_session_established(p->ours, &p->flood);
}

static void pair_fini(struct pair *p)
{
    tls_session_destroy(&p->ours);
    SSL_free(p->theirs);
    tls_profile_destroy(&p->profile);
    ERR_clear_error();
}

static void read_all(SSL *ssl)
{
    char bytes[1024];
    while (SSL_read(ssl, bytes, sizeof bytes) > 0)
        continue;
    assert_int_equal(SSL_get_error(ssl, -1), SSL_ERROR_WANT_READ);
}

static void send_key_update(struct pair *p)
{
    assert_int_equal(SSL_key_update(p->theirs, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(p->theirs), 1);
    read_all(p->ours);
    read_all(p->theirs); /* our answer */
}

static void key_updates_either_way(void **state)
{
    (void)state;
    for (int up = 0; up < 2; up++) {
        struct pair p;
        pair_init(&p, up == 1);
        for (unsigned i = 1; i <= MOST; i++) {
            send_key_update(&p);
            assert_int_equal(p.flood.count, i);
            assert_false(p.flood.over);
        }
        send_key_update(&p);
        assert_true(p.flood.over);
        struct tls_failure f;
        tls_flood_failure(&f, &p.flood);
        assert_int_equal(f.fault, TLS_FAULT_PROTOCOL);
        assert_int_equal(f.alert, -1);
        assert_string_equal(f.reason, "too many KeyUpdate messages");
        assert_string_equal(f.remedy, "");
        pair_fini(&p);
    }
}

static void the_window_passes(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p, true);
    for (unsigned i = 0; i < MOST; i++)
        send_key_update(&p);
    p.flood.since_ms = clock_ms() - WINDOW;
    send_key_update(&p);
    assert_false(p.flood.over);
    assert_int_equal(p.flood.count, 1);
    pair_fini(&p);
}

static void data_excuses(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p, true);
    tls_flood_data(&p.flood, 1000 * EXCUSE); /* before the first: not saved up */
    for (unsigned i = 0; i < MOST; i++)
        send_key_update(&p);
    for (unsigned i = 0; i < 1000; i++) { /* often, but with data between them */
        tls_flood_data(&p.flood, EXCUSE / 2);
        tls_flood_data(&p.flood, EXCUSE / 2);
        send_key_update(&p);
        assert_false(p.flood.over);
    }
    tls_flood_data(&p.flood, EXCUSE - 1);
    send_key_update(&p);
    assert_true(p.flood.over);
    pair_fini(&p);
}

static void session_tickets(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p, true);
    for (unsigned i = 0; i <= MOST; i++) {
        assert_false(p.flood.over);
        assert_int_equal(SSL_new_session_ticket(p.theirs), 1);
        assert_int_equal(SSL_do_handshake(p.theirs), 1);
        read_all(p.ours);
    }
    assert_true(p.flood.over);
    struct tls_failure f;
    tls_flood_failure(&f, &p.flood);
    assert_string_equal(f.reason, "too many session tickets");
    pair_fini(&p);
}

static void data_alone_is_none(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p, true);
    for (unsigned i = 0; i < 10 * MOST; i++) {
        assert_int_equal(SSL_write(p.theirs, "x", 1), 1);
        read_all(p.ours);
    }
    assert_int_equal(p.flood.count, 0);
    pair_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_updates_either_way), cmocka_unit_test(the_window_passes),
        cmocka_unit_test(data_excuses),           cmocka_unit_test(session_tickets),
        cmocka_unit_test(data_alone_is_none),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
