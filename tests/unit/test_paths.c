/* Which files a configuration comes from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/config.h>

#include "config/config_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char told[4096];

static void tell(void *context, const char *path)
{
    const size_t length = strlen(told);
    assert_null(context);
    snprintf(told + length, sizeof told - length, "%s|", path);
}

static const char *paths(const char *text)
{
    struct config c;
    struct error err;
    error_init(&err);
    assert_true(config_set_up(&c, &err));
    if (!config_from_text(&c, "t.cfg", text, strlen(text), &err))
        fail_msg("%s: %s", text, err.text);
    told[0] = '\0';
    config_paths(&c, tell, NULL);
    config_fini(&c);
    return told;
}

#define UP(rest) "services = ( { name = \"s\"; listen = \"1\"; connect = \"h:1\"; " rest "} );"
#define DOWN(rest)                                                                                 \
    "services = ( { name = \"s\"; listen = \"tls://1.1.1.1:1\"; connect = \"tcp://h:1\"; " rest    \
    "} );"

static void files_and_directories(void **state)
{
    (void)state;
    assert_string_equal(paths(UP("")), "t.cfg|");
    assert_string_equal(
        paths(UP("ca = \"/a\"; ca_dir = \"b\"; crl = \"c\"; crl_dir = \"d\"; cert = \"e\"; "
                 "key = \"f\"; key_passphrase = \"file:/g\";")),
        "t.cfg|/a|b|c|d|e|f|/g|");
    assert_string_equal(
        paths(DOWN("listen_cert = [\"a\", \"b\"]; listen_key = [\"c\", \"d\"]; "
                   "listen_key_passphrase = \"file:e\"; listen_ocsp = [\"f\", \"g\"]; "
                   "listen_ca = \"h\"; listen_ca_dir = \"i\"; listen_crl = \"j\"; "
                   "listen_crl_dir = \"k\"; listen_ticket_keys = \"l\";")),
        "t.cfg|a|b|c|d|f|g|h|i|j|k|l|e|");
}

static void what_is_no_file(void **state)
{
    (void)state;
    assert_string_equal(paths(UP("cert = \"pkcs11:object=c\"; key = \"PKCS11:object=c\"; "
                                 "key_passphrase = \"env:PIN\"; server_name = \"n\"; "
                                 "pins = \"sha256//x\"; groups = \"X25519\";")),
                        "t.cfg|");
    assert_string_equal(paths(UP("cert = \"org.openssl.winstore://x\";")), "t.cfg|");
    assert_string_equal(paths(DOWN("listen_cert = [\"pkcs11:a\", \"b\"];")), "t.cfg|b|");
}

static void uris_of_files(void **state)
{
    (void)state;
    assert_string_equal(paths(UP("cert = \"file:/a/b.p12\";")), "t.cfg|/a/b.p12|");
    assert_string_equal(paths(UP("cert = \"file:b.pem\";")), "t.cfg|b.pem|");
    assert_string_equal(paths(UP("cert = \"FILE:///a\"; key = \"file://localhost/k\";")),
                        "t.cfg|/a|/k|");
    /* Colons in names of files. */
    assert_string_equal(paths(UP("cert = \"./pkcs11:a\"; key = \"/x:y\"; ca = \"file:ca\";")),
                        "t.cfg|file:ca|./pkcs11:a|/x:y|");
    assert_string_equal(paths(UP("cert = \"c:x\"; key = \"1a:b\";")), "t.cfg|c:x|1a:b|");
    char folder[] = "/tmp/esclusa-paths-XXXXXX";
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    FILE *file = fopen("pkcs11:a", "we");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(paths(UP("cert = \"pkcs11:a\"; key = \"pkcs11:b\";")), "t.cfg|pkcs11:a|");
    assert_int_equal(unlink("pkcs11:a"), 0);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* Whoever adds a row that names a file has it watched. */
static void every_row_that_names_a_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        const bool named =
            strncmp(row->argument, "FILE", 4) == 0 || strcmp(row->argument, "DIR") == 0;
        assert_int_equal(row->path, named);
        if (!named)
            continue;
        struct config c;
        struct error err;
        error_init(&err);
        assert_true(config_set_up(&c, &err));
        assert_true(option_store(row, config_base_of(&c, row), "/here", &err));
        told[0] = '\0';
        config_paths(&c, tell, NULL);
        assert_string_equal(told, "/here|");
        config_fini(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_and_directories),
        cmocka_unit_test(what_is_no_file),
        cmocka_unit_test(uris_of_files),
        cmocka_unit_test(every_row_that_names_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
