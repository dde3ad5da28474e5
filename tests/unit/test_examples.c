/* The example files of config/ pass `esclusa check`, certificates included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/config.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define INSTALLED "/etc/esclusa/" /* what stands in the examples */

static char folder[] = "/tmp/esclusa-examples-XXXXXX";

static void source_path(char *dst, size_t size, const char *below)
{
    const char *slash = strrchr(__FILE__, '/');
    snprintf(dst, size, "%.*s../../%s", (int)(slash - __FILE__ + 1), __FILE__, below);
}

static int run(const char *command)
{
    return system(command); /* NOLINT: words of our own */
}

/* A revocation list, a PKCS#12 file with its passphrase, and keys of tickets. */
static int make_others(void)
{
    static const char commands[] =
        "cd '%s' && : >index.txt && umask 077 && "
        "printf '[ca]\ndefault_ca=x\n[x]\ndatabase=index.txt\ndefault_md=sha256\n' >ca.cnf && "
        "openssl ca -config ca.cnf -gencrl -crldays 30 -cert ca.pem -keyfile ca.key -out ca.crl "
        "2>/dev/null && "
        "echo example >client.pass && openssl pkcs12 -export -in client.pem -inkey client.key "
        "-passout file:client.pass -out client.p12 && openssl rand -out tickets.key 160";
    char command[2 * PATH_SIZE];
    snprintf(command, sizeof(command), commands, folder);
    return run(command);
}

static int make_certificates(void **state)
{
    (void)state;
    char script[PATH_SIZE];
    char command[2 * PATH_SIZE];
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    source_path(script, sizeof(script), "certs/make-certs.sh");
    snprintf(command, sizeof(command), "'%s' '%s' server client wildcard >/dev/null", script,
             folder);
    if (run(command) != 0) {
        return -1;
    }
    /* One that ends soon, in place of the client's. */
    snprintf(command, sizeof(command),
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 10 -subj "
             "/CN=short -keyout '%s/client.key' -out '%s/client.pem' 2>/dev/null",
             folder, folder);
    return run(command) != 0 ? -1 : make_others();
}

static int remove_all(void **state)
{
    (void)state;
    char command[PATH_SIZE];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return run(command);
}

/* Copies config/NAME with the installed paths replaced by those of our certificates. */
static void copy_example(const char *name)
{
    char from[PATH_SIZE];
    char to[PATH_SIZE];
    char below[300];
    static char text[65536];
    snprintf(below, sizeof(below), "config/%s", name);
    source_path(from, sizeof(from), below);
    snprintf(to, sizeof(to), "%s/%s", folder, name);
    FILE *in = fopen(from, "re");
    FILE *out = fopen(to, "we");
    assert_non_null(in);
    assert_non_null(out);
    const size_t length = fread(text, 1, sizeof(text) - 1, in);
    text[length] = '\0';
    const char *at = text;
    for (const char *found = strstr(at, INSTALLED); found != NULL; found = strstr(at, INSTALLED)) {
        fprintf(out, "%.*s%s/", (int)(found - at), at, folder);
        at = found + strlen(INSTALLED);
    }
    fputs(at, out);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* What check prints of it; the caller frees. */
static char *check_example(const char *name)
{
    char path[PATH_SIZE];
    struct config c;
    struct error err;
    char *printed = NULL;
    size_t size = 0;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    error_init(&err);
    assert_true(config_set_up(&c, &err));
    struct snapshot *s = config_from_file(&c, path, &err) ? snapshot_create(&c, 0, &err) : NULL;
    if (s == NULL) {
        fail_msg("%s", err.text);
        abort();
    }
    FILE *out = open_memstream(&printed, &size);
    assert_non_null(out);
    snapshot_print(s, out);
    assert_int_equal(fclose(out), 0);
    snapshot_unref(&s);
    config_fini(&c);
    if (printed == NULL) {
        abort();
    }
    return printed;
}

/* Copies, or checks, each file of config/ with that suffix. */
static void each_example(const char *suffix, size_t *count_r, bool check)
{
    char path[PATH_SIZE];
    source_path(path, sizeof(path), "config");
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        const char *dot = strrchr(e->d_name, '.');
        if (dot == NULL || strcmp(dot, suffix) != 0) {
            continue;
        }
        if (check) {
            char *printed = check_example(e->d_name);
            assert_non_null(strstr(printed, "[service "));
            free(printed);
        } else {
            copy_example(e->d_name);
        }
        ++*count_r;
    }
    closedir(dir);
}

static void every_example_passes(void **state)
{
    (void)state;
    size_t copied = 0;
    size_t checked = 0;
    each_example(".inc", &copied, false);
    each_example(".cfg", &copied, false);
    each_example(".cfg", &checked, true);
    assert_true(checked >= 8);
}

static void certificates_are_told_with_their_ends(void **state)
{
    (void)state;
    char *printed = check_example("mtls-cloud.cfg");
    assert_non_null(strstr(printed, "certificate (cert, own): "));
    assert_non_null(strstr(printed, "certificate (ca, anchor): "));
    assert_non_null(strstr(printed, "notAfter 20"));
    assert_non_null(strstr(printed, "\nwarning: CN=short: expires at 20"));
    assert_non_null(strstr(printed, " days: renew it\n"));
    free(printed);
}

/* What `defaults` says of TLS is not in effect where nothing is TLS. */
static void what_is_of_no_use_is_not_shown(void **state)
{
    (void)state;
    char *printed = check_example("many-services.cfg");
    const char *legacy = strstr(printed, "[service legacy]");
    const char *redis = strstr(printed, "[service redis]");
    if (legacy == NULL || redis == NULL) {
        fail_msg("%s", printed);
        abort();
    }
    assert_null(strstr(legacy, "\nca = "));
    assert_non_null(strstr(redis, "\nca = "));
    assert_non_null(strstr(redis, "\nidle_timeout = 1h\n"));
    free(printed);
}

/* Each certificate of a list, and what does not only refuse. */
static void lists_and_warnings_are_told(void **state)
{
    (void)state;
    char *printed = check_example("mtls-listener.cfg");
    const char *first = strstr(printed, "certificate (listen_cert, own): CN=esclusa test server,");
    const char *second =
        strstr(printed, "certificate (listen_cert, own): CN=esclusa test wildcard,");
    assert_true(first != NULL && second != NULL && first < second);
    assert_non_null(strstr(printed, "\nlisten_client = optional\n"));
    assert_non_null(strstr(printed, "\nlisten_tickets = false\n"));
    free(printed);

    printed = check_example("hardened-egress.cfg");
    assert_non_null(
        strstr(printed, "\nverify_names = pay.example.com, spiffe://example.com/payments\n"));
    assert_non_null(strstr(printed, "\nwarning: pins_policy is report: "));
    free(printed);

    printed = check_example("client-pkcs12.cfg");
    assert_non_null(strstr(printed, "certificate (cert, own): CN=short,"));
    assert_null(strstr(printed, "example\n"));
    free(printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_example_passes),
        cmocka_unit_test(certificates_are_told_with_their_ends),
        cmocka_unit_test(what_is_of_no_use_is_not_shown),
        cmocka_unit_test(lists_and_warnings_are_told),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_all);
}
