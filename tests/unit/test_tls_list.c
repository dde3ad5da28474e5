/* The certificates of a profile, as `esclusa check` lists them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_fixture.h"

#include <esclusa/str.h>

#include <unistd.h>

#define SEEN_MAX 8

struct seen {
    struct tls_certificate list[SEEN_MAX];
    size_t count;
};

static void remember(void *context, const struct tls_certificate *c)
{
    struct seen *seen = context;
    assert_true(seen->count < SEEN_MAX);
    seen->list[seen->count++] = *c;
}

static char folder[] = "/tmp/esclusa-list-XXXXXX";
static char own_path[64], ca_path[64];

static int make(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(own_path, sizeof(own_path), "%s/own.pem", folder);
    snprintf(ca_path, sizeof(ca_path), "%s/ca.pem", folder);
    struct fx_cert root = fx_make(&(struct fx_spec){.cn = "Root", .ca = true});
    struct fx_cert middle = fx_make(&(struct fx_spec){.cn = "Middle", .ca = true, .issuer = &root});
    struct fx_cert leaf = fx_make(
        &(struct fx_spec){.cn = "leaf", .issuer = &middle, .from = -FX_DAY, .until = 10 * FX_DAY});
    struct fx_cert old = fx_make(
        &(struct fx_spec){.cn = "Old", .ca = true, .from = -5 * FX_DAY, .until = -2 * FX_DAY});
    fx_write(own_path, "w", leaf.cert, leaf.key);
    fx_write(own_path, "a", middle.cert, NULL);
    fx_write(ca_path, "w", root.cert, NULL);
    fx_write(ca_path, "a", old.cert, NULL);
    fx_free(&root);
    fx_free(&middle);
    fx_free(&leaf);
    fx_free(&old);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    (void)unlink(own_path);
    (void)unlink(ca_path);
    return rmdir(folder);
}

static void assert_near(int64_t seconds, int64_t expected)
{
    assert_true(seconds <= expected && seconds > expected - 600);
}

static const struct tls_certificate *seen_as(const struct seen *seen, const char *subject)
{
    for (size_t i = 0; i < seen->count; i++) {
        if (strcmp(seen->list[i].subject, subject) == 0) {
            return &seen->list[i];
        }
    }
    fail_msg("%s is not listed", subject);
    return NULL;
}

static void all_that_was_given(void **state)
{
    (void)state;
    const char *const certs[] = {own_path};
    const struct tls_settings settings = {.role = TLS_UPSTREAM,
                                          .ca_file = ca_path,
                                          .certs = {certs, 1},
                                          .security_level = 2,
                                          .workers = 2,
                                          .words_of_file = true};
    struct error err;
    error_init(&err);
    struct tls_profile *p = tls_profile_create(&settings, &err);
    if (p == NULL) {
        fail_msg("%s", err.text);
    }
    struct seen seen = {.count = 0};
    tls_profile_certificates(p, remember, &seen);
    assert_int_equal(seen.count, 4);
    assert_string_equal(seen.list[0].subject, "CN=leaf");
    assert_int_equal(seen.list[0].use, TLS_CERTIFICATE_OWN);
    assert_string_equal(seen.list[0].option, "cert");
    assert_near(seen.list[0].seconds_left, 10 * FX_DAY);
    assert_int_equal(strlen(seen.list[0].not_after), strlen("2026-01-27 12:00:00 UTC"));
    assert_string_equal(seen.list[1].subject, "CN=Middle");
    assert_int_equal(seen.list[1].use, TLS_CERTIFICATE_ISSUER);
    assert_int_equal(seen_as(&seen, "CN=Root")->use, TLS_CERTIFICATE_ANCHOR);
    assert_string_equal(seen_as(&seen, "CN=Root")->option, "ca");
    assert_near(seen_as(&seen, "CN=Old")->seconds_left, -2 * FX_DAY);
    tls_profile_destroy(&p);
}

static void nothing_of_the_system_store(void **state)
{
    (void)state;
    const struct tls_settings settings = {.role = TLS_UPSTREAM, .workers = 1};
    struct error err;
    error_init(&err);
    struct tls_profile *p = tls_profile_create(&settings, &err);
    assert_non_null(p);
    struct seen seen = {.count = 0};
    tls_profile_certificates(p, remember, &seen);
    assert_int_equal(seen.count, 0);
    tls_profile_destroy(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_was_given),
        cmocka_unit_test(nothing_of_the_system_store),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
