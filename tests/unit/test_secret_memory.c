/* The memory of private keys: how large, and what happens in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_world.h"

#include <openssl/crypto.h>

static void a_size_for_every_process(void **state)
{
    (void)state;
    const size_t mib = (size_t)1024 * 1024;
    assert_int_equal(tls_secret_memory_size(0), mib);
    assert_int_equal(tls_secret_memory_size(1024), 2 * mib);
    assert_int_equal(tls_secret_memory_size(65536), 16 * mib);
    assert_int_equal(tls_secret_memory_size(SIZE_MAX), 128 * mib);
}

#define PAIRS 20

static SSL *side(SSL_CTX *ctx, bool server)
{
    SSL *ssl = SSL_new(ctx);
    assert_non_null(ssl);
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}

/* With the largest key shares there are, what a session keeps is within the share of a descriptor;
 * else a process with many sessions could not have one more. */
static void what_a_session_takes(void **state)
{
    (void)state;
    char group[] = "P-521"; /* the macros cast const away */
    SSL *sides[2 * PAIRS];
    SSL_CTX *server_ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_use_certificate(server_ctx, good.cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server_ctx, good.key), 1);
    assert_int_equal(SSL_CTX_set1_groups_list(server_ctx, group), 1);
    assert_int_equal(SSL_CTX_set1_groups_list(client_ctx, group), 1);
    const size_t before = CRYPTO_secure_used();
    for (int i = 0; i < 2 * PAIRS; i += 2) {
        sides[i] = side(server_ctx, true);
        sides[i + 1] = side(client_ctx, false);
        fx_join(sides[i], sides[i + 1]);
        for (int turn = 0; turn < 8; turn++)
            (void)SSL_do_handshake(sides[i + 1 - turn % 2]);
        assert_true(SSL_is_init_finished(sides[i]) && SSL_is_init_finished(sides[i + 1]));
    }
    const size_t taken = CRYPTO_secure_used() - before;
    assert_in_range(taken, 1, (size_t)2 * PAIRS * 128);
    for (int i = 0; i < 2 * PAIRS; i++)
        SSL_free(sides[i]);
    assert_in_range(CRYPTO_secure_used(), 0, before + 1024);
    SSL_CTX_free(server_ctx);
    SSL_CTX_free(client_ctx);
    ERR_clear_error();
}

static void a_key_is_in_it(void **state)
{
    (void)state;
    struct tls_settings settings = downstream();
    const size_t before = CRYPTO_secure_used();
    struct tls_profile *profile = profile_of(&settings);
    assert_true(CRYPTO_secure_used() > before);
    tls_profile_destroy(&profile);
}

static int setup(void **state)
{
    size_t size;
    return tls_secret_memory_open(&size) != TLS_SECRETS_ANYWHERE && size > 0 ? world_setup(state)
                                                                             : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_size_for_every_process),
        cmocka_unit_test(what_a_session_takes),
        cmocka_unit_test(a_key_is_in_it),
    };
    return cmocka_run_group_tests(tests, setup, world_teardown);
}
