/* What is granted for the paths that are named, and what that covers afterwards. Nothing is entered
 * here: tests/e2e/test_sandbox.py does that, in processes of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/sandbox.h>

#include "sandbox/sandbox_internal.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[64]; /* a directory of each test's own */
static struct sandbox_plan plan;

static const char *at(const char *rest)
{
    static char text[4][PATH_MAX];
    static unsigned turn;
    char *dst = text[turn++ % 4];
    snprintf(dst, PATH_MAX, "%s/%s", top, rest);
    return dst;
}

static void make_file(const char *rest)
{
    int fd = open(at(rest), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void make_dir(const char *rest)
{
    assert_int_equal(mkdir(at(rest), 0700), 0);
}

static void make_link(const char *text, const char *rest)
{
    assert_int_equal(symlink(text, at(rest)), 0);
}

static int begin(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "/tmp/esclusa-sandbox-XXXXXX");
    sandbox_plan_init(&plan, SANDBOX_ON);
    return mkdtemp(top) == NULL;
}

static int end(void **state)
{
    (void)state;
    char command[128];
    sandbox_plan_fini(&plan);
    snprintf(command, sizeof command, "rm -r %s", top);
    return system(command);
}

/* The plan's entry for the path itself; NULL: none. */
static const struct sandbox_path *entry(const char *path)
{
    char real[PATH_MAX];
    assert_non_null(realpath(path, real));
    for (size_t i = 0; i < plan.count; i++) {
        if (strcmp(plan.paths[i].path, real) == 0)
            return &plan.paths[i];
    }
    return NULL;
}

static bool covers(const char *rest)
{
    plan.landlocked = true;
    return sandbox_covers(&plan, at(rest), SANDBOX_READ);
}

static void directory_of_a_file(void **state)
{
    (void)state;
    make_dir("certs");
    make_dir("other");
    make_file("certs/tls.crt");
    make_file("other/tls.crt");
    sandbox_plan_file(&plan, at("certs/tls.crt"), "x");
    assert_int_equal(plan.count, 1);
    assert_non_null(entry(at("certs")));
    assert_false(entry(at("certs"))->alone);
    assert_int_equal(entry(at("certs"))->access, SANDBOX_READ);
    assert_true(covers("certs/tls.crt"));
    assert_true(covers("certs/new.crt"));
    assert_false(covers("other/tls.crt"));
    assert_false(covers("certs-too/tls.crt") && access(at("certs-too"), F_OK) == 0);
    /* Another file of that name. */
    make_file("certs/next");
    assert_int_equal(rename(at("certs/next"), at("certs/tls.crt")), 0);
    assert_true(covers("certs/tls.crt"));
}

static void name_that_begins_alike(void **state)
{
    (void)state;
    make_dir("a");
    make_dir("ab");
    make_file("a/f");
    make_file("ab/f");
    sandbox_plan_file(&plan, at("a/f"), "x");
    assert_true(covers("a/f"));
    assert_false(covers("ab/f"));
}

/* Landlock knows inodes: what has the name now is another directory. */
static void directory_made_anew(void **state)
{
    (void)state;
    make_dir("certs");
    make_file("certs/f");
    sandbox_plan_file(&plan, at("certs/f"), "x");
    assert_true(covers("certs/f"));
    assert_int_equal(rename(at("certs"), at("gone")), 0);
    make_dir("certs");
    make_file("certs/f");
    assert_false(covers("certs/f"));
}

/* A Kubernetes volume: tls.crt -> ..data/tls.crt, ..data -> ..1, then ..data -> ..2. */
static void turned_link(void **state)
{
    (void)state;
    static const char *const named[] = {"v/tls.crt", "v/..data/tls.crt"};
    make_dir("v");
    make_dir("v/..1");
    make_dir("v/..2");
    make_file("v/..1/tls.crt");
    make_file("v/..2/tls.crt");
    make_link("..1", "v/..data");
    make_link("..data/tls.crt", "v/tls.crt");
    for (size_t i = 0; i < 2; i++) {
        sandbox_plan_fini(&plan);
        sandbox_plan_file(&plan, at(named[i]), "x");
        assert_true(covers(named[i]));
        assert_int_equal(unlink(at("v/..data")), 0);
        make_link("..2", "v/..data");
        assert_true(covers(named[i]));
        assert_int_equal(unlink(at("v/..data")), 0);
        make_link("..1", "v/..data");
    }
}

/* live/x/cert.pem -> ../../archive/x/cert1.pem, then cert2.pem. */
static void link_to_an_archive(void **state)
{
    (void)state;
    make_dir("live");
    make_dir("archive");
    make_dir("archive/x");
    make_file("archive/x/cert1.pem");
    make_file("archive/x/cert2.pem");
    make_link("../archive/x/cert1.pem", "live/cert.pem");
    sandbox_plan_file(&plan, at("live/cert.pem"), "x");
    assert_true(covers("live/cert.pem"));
    assert_int_equal(unlink(at("live/cert.pem")), 0);
    make_link("../archive/x/cert2.pem", "live/cert.pem");
    assert_true(covers("live/cert.pem"));
    assert_null(entry(at("archive")));
}

/* current -> releases/1, then releases/2. */
static void link_of_a_deployment(void **state)
{
    (void)state;
    make_dir("releases");
    make_dir("releases/1");
    make_dir("releases/2");
    make_file("releases/1/f");
    make_file("releases/2/f");
    make_link("releases/1", "current");
    sandbox_plan_file(&plan, at("current/f"), "x");
    assert_int_equal(unlink(at("current")), 0);
    make_link("releases/2", "current");
    assert_true(covers("current/f"));
    /* The top, beside which current stands, has not been given away. */
    make_file("secret");
    assert_false(covers("secret"));
}

static void chain_of_links(void **state)
{
    (void)state;
    for (int i = 1; i <= 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        make_dir(name);
    }
    make_file("d3/f");
    make_link("../d3/f", "d2/f");
    make_link("../d2/f", "d1/f");
    sandbox_plan_file(&plan, at("d1/f"), "x");
    assert_int_equal(plan.count, 3);
    assert_true(covers("d1/f") && covers("d2/f") && covers("d3/f"));
}

static void links_in_a_directory(void **state)
{
    (void)state;
    make_dir("certs");
    make_dir("share");
    make_file("share/ca.crt");
    make_link("../share/ca.crt", "certs/01234567.0");
    sandbox_plan_file(&plan, at("certs"), "x");
    assert_non_null(entry(at("certs")));
    assert_true(covers("certs/01234567.0"));
}

static void loop_of_links(void **state)
{
    (void)state;
    make_dir("d");
    make_link("b", "d/a");
    make_link("a", "d/b");
    sandbox_plan_file(&plan, at("d/a"), "x");
    assert_int_equal(plan.count, 1);
}

static void what_is_not_there_yet(void **state)
{
    (void)state;
    make_dir("crls");
    sandbox_plan_file(&plan, at("crls/new.crl"), "x");
    assert_true(covers("crls/new.crl"));
    sandbox_plan_file(&plan, at("nothing/new.crl"), "x");
    assert_int_equal(plan.count, 1);
}

/* A directory that is everybody's is not given away: the file is alone, and lost when replaced. */
static void file_alone(void **state)
{
    (void)state;
    plan.uid = 0;
    sandbox_plan_file(&plan, "/etc/hostname", "x");
    sandbox_plan_file(&plan, "/proc/version", "x");
    assert_null(entry("/etc"));
    assert_null(entry("/proc"));
    assert_true(entry("/etc/hostname")->alone);
    plan.landlocked = true;
    assert_true(sandbox_covers(&plan, "/etc/hostname", SANDBOX_READ));
    assert_false(sandbox_covers(&plan, "/etc/shadow", SANDBOX_READ));
    assert_false(sandbox_covers(&plan, "/etc", SANDBOX_READ));
    /* For who is not root, file modes keep what is secret in /etc. */
    plan.uid = 65534;
    sandbox_plan_file(&plan, "/etc/hostname", "x");
    assert_non_null(entry("/etc"));
}

static void sockets_and_what_is_written(void **state)
{
    (void)state;
    make_dir("run");
    make_dir("log");
    sandbox_plan_parent(&plan, at("run/s"), SANDBOX_SOCKETS, "x");
    sandbox_plan_parent(&plan, at("log/l"), SANDBOX_READ | SANDBOX_WRITE, "y");
    plan.landlocked = true;
    assert_true(sandbox_covers(&plan, at("run/other"), SANDBOX_SOCKETS));
    assert_false(sandbox_covers(&plan, at("run/other"), SANDBOX_READ));
    assert_false(sandbox_covers(&plan, at("run/other"), SANDBOX_WRITE));
    assert_true(sandbox_covers(&plan, at("log/l"), SANDBOX_WRITE));
    assert_false(sandbox_covers(&plan, at("log/l"), SANDBOX_SOCKETS));
    /* A link to elsewhere does not make the directory that it is in another one. */
    make_link("/nowhere/at/all", "run/s");
    assert_true(sandbox_covers(&plan, at("run/s"), SANDBOX_SOCKETS));
    /* Twice the same directory is one entry with both. */
    sandbox_plan_parent(&plan, at("run/s"), SANDBOX_READ, "z");
    assert_int_equal(plan.count, 2);
    assert_int_equal(entry(at("run"))->access, SANDBOX_SOCKETS | SANDBOX_READ);
}

static void without_landlock_all_is_covered(void **state)
{
    (void)state;
    assert_true(sandbox_covers(&plan, "/etc/shadow", SANDBOX_READ));
}

static void system_paths(void **state)
{
    (void)state;
    plan.uid = 0;
    sandbox_plan_system(&plan);
    plan.landlocked = true;
    assert_false(sandbox_covers(&plan, "/etc/shadow", SANDBOX_READ));
    assert_false(sandbox_covers(&plan, "/root/x", SANDBOX_READ));
    assert_true(sandbox_covers(&plan, "/etc/hosts", SANDBOX_READ));
    assert_true(sandbox_covers(&plan, "/proc/self/status", SANDBOX_READ));
    assert_false(sandbox_covers(&plan, "/proc/1/environ", SANDBOX_READ));
    assert_false(sandbox_covers(&plan, "/tmp/x", SANDBOX_WRITE));
}

static void users_and_groups(void **state)
{
    (void)state;
    struct error err;
    error_init(&err);
    assert_true(sandbox_plan_user(&plan, "nobody", NULL, &err));
    assert_int_equal(plan.uid, 65534);
    assert_int_equal(plan.gid, 65534);
    assert_true(sandbox_plan_user(&plan, "12345", NULL, &err));
    assert_int_equal(plan.uid, 12345);
    assert_int_equal(plan.gid, 12345);
    assert_true(sandbox_plan_user(&plan, "0", "4242", &err));
    assert_string_equal(plan.user, "root");
    assert_int_equal(plan.gid, 4242);
    assert_true(plan.change_user);
    assert_false(sandbox_plan_user(&plan, "no-such-user", NULL, &err));
    assert_non_null(strstr(err.text, "no-such-user"));
    error_clear(&err);
    assert_false(sandbox_plan_user(&plan, "root", "no-such-group", &err));
    assert_non_null(strstr(err.text, "no-such-group"));
    error_clear(&err);
    assert_false(sandbox_plan_user(&plan, "4294967295", NULL, &err)); /* (uid_t)-1: "no change" */
}

/* A call is in one group of one table, and its name fits. */
static void tables_of_calls(void **state)
{
    (void)state;
    static const struct call_group *const tables[] = {calls_allowed, calls_filtered, calls_fatal,
                                                      calls_refused};
    static char seen[1024][CALL_NAME_MAX];
    size_t count = 0;
    for (size_t t = 0; t < 4; t++) {
        for (const struct call_group *group = tables[t]; group->title != NULL; group++) {
            char name[CALL_NAME_MAX];
            size_t position = 0;
            assert_true(strlen(group->why) > 0);
            while (call_next(group, &position, name)) {
                for (size_t i = 0; i < count; i++) {
                    if (strcmp(seen[i], name) == 0)
                        fail_msg("%s is there twice", name);
                }
                assert_true(count < 1024);
                memcpy(seen[count++], name, sizeof name);
            }
            assert_int_equal(position, strlen(group->names));
        }
    }
    assert_true(count > 150);
}

static void ports(void **state)
{
    (void)state;
    assert_false(sandbox_bars_port(&plan, 1));
    plan.without_bind = true;
    assert_false(sandbox_bars_port(&plan, 40000));
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        EACH(directory_of_a_file),
        EACH(name_that_begins_alike),
        EACH(directory_made_anew),
        EACH(turned_link),
        EACH(link_to_an_archive),
        EACH(link_of_a_deployment),
        EACH(chain_of_links),
        EACH(links_in_a_directory),
        EACH(loop_of_links),
        EACH(what_is_not_there_yet),
        EACH(file_alone),
        EACH(sockets_and_what_is_written),
        EACH(without_landlock_all_is_covered),
        EACH(system_paths),
        EACH(users_and_groups),
        EACH(tables_of_calls),
        EACH(ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
