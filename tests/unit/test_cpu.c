/* How many CPUs a process may use, with a made-up /proc and /sys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config/config_internal.h"

#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT_TEMPLATE "/tmp/esclusa-cpu-XXXXXX"

static char root[sizeof(ROOT_TEMPLATE)];

static int make_root(void **state)
{
    (void)state;
    memcpy(root, ROOT_TEMPLATE, sizeof(root));
    return mkdtemp(root) == NULL ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int remove_root(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Writes root/name and the folders it needs. */
static void put(const char *name, const char *text)
{
    char path[512];
    size_t length = 0;
    assert_true(str_append(path, sizeof(path), &length, "%s/%s", root, name));
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void no_cgroup_files(void **state)
{
    (void)state;
    assert_int_equal(cpu_allowance_below(root, 7), 7);
    assert_int_equal(cpu_allowance_below(root, 0), 1);
}

static void v2_quota_is_rounded_up(void **state)
{
    (void)state;
    static const struct {
        const char *cpu_max;
        unsigned cpus;
    } cases[] = {
        {"200000 100000\n", 2}, {"150000 100000\n", 2},
        {"100000 100000\n", 1}, {"1000 100000\n", 1},
        {"max 100000\n", 16},   {"9999999999 100000\n", 16},
        {"0 100000\n", 16},     {"100000 0\n", 16},
        {"100000\n", 16},       {"", 16},
        {"nonsense 1\n", 16},   {"18446744073709551615 1\n", 16},
        {"200000 100000", 2},
    };
    put("proc/self/cgroup", "0::/app\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put("sys/fs/cgroup/app/cpu.max", cases[i].cpu_max);
        if (cpu_allowance_below(root, 16) != cases[i].cpus) {
            fail_msg("cpu.max %s gives %u", cases[i].cpu_max, cpu_allowance_below(root, 16));
        }
    }
}

static void affinity_wins_when_it_is_less(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/app\n");
    put("sys/fs/cgroup/app/cpu.max", "800000 100000\n");
    assert_int_equal(cpu_allowance_below(root, 4), 4);
    assert_int_equal(cpu_allowance_below(root, 12), 8);
}

static void v2_the_least_of_all_parents(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/a/b/c\n");
    put("sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/a/b/cpu.max", "600000 100000\n");
    put("sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    assert_int_equal(cpu_allowance_below(root, 16), 3);
    put("sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
    assert_int_equal(cpu_allowance_below(root, 16), 2);
    /* A sibling is none of our business. */
    put("sys/fs/cgroup/a/other/cpu.max", "100000 100000\n");
    assert_int_equal(cpu_allowance_below(root, 16), 2);
}

static void v2_inside_a_container(void **state)
{
    (void)state;
    /* With a cgroup namespace the container's own group is the root of the mount. */
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/cpu.max", "250000 100000\n");
    assert_int_equal(cpu_allowance_below(root, 16), 3);
    /* Without one the path is the host's and does not exist here. */
    put("proc/self/cgroup", "0::/system.slice/docker-0123.scope\n");
    assert_int_equal(cpu_allowance_below(root, 16), 3);
    /* Outside of the namespace's root. */
    put("proc/self/cgroup", "0::/../../elsewhere\n");
    put("sys/elsewhere/cpu.max", "100000 100000\n");
    assert_int_equal(cpu_allowance_below(root, 16), 3);
}

static void v1_quota(void **state)
{
    (void)state;
    put("proc/self/cgroup", "12:pids:/app\n4:cpu,cpuacct:/app/inner\n1:name=systemd:/app\n");
    put("sys/fs/cgroup/cpu,cpuacct/app/inner/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu,cpuacct/app/inner/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpu_allowance_below(root, 16), 16);
    put("sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "450000\n");
    put("sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpu_allowance_below(root, 16), 5);
    put("sys/fs/cgroup/cpu,cpuacct/app/inner/cpu.cfs_quota_us", "50000\n");
    assert_int_equal(cpu_allowance_below(root, 16), 1);
}

static void v1_under_the_short_name(void **state)
{
    (void)state;
    put("proc/self/cgroup", "4:cpuacct,cpu:/app\n0::/\n");
    put("sys/fs/cgroup/cpu/app/cpu.cfs_quota_us", "200000\n");
    put("sys/fs/cgroup/cpu/app/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpu_allowance_below(root, 16), 2);
}

static void other_controllers_do_not_count(void **state)
{
    (void)state;
    put("proc/self/cgroup", "4:cpuset,cpuacct:/app\n");
    put("sys/fs/cgroup/cpu/app/cpu.cfs_quota_us", "200000\n");
    put("sys/fs/cgroup/cpu/app/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpu_allowance_below(root, 16), 16);
}

static void broken_lines_are_passed_over(void **state)
{
    (void)state;
    put("proc/self/cgroup", "\nnonsense\n1:half\n0::\n0::/app\n");
    put("sys/fs/cgroup/app/cpu.max", "200000 100000\n");
    assert_int_equal(cpu_allowance_below(root, 16), 2);

    char deep[20000];
    memset(deep, 'd', sizeof(deep));
    memcpy(deep, "0::/", 4);
    deep[sizeof(deep) - 1] = '\0';
    put("proc/self/cgroup", deep);
    assert_int_equal(cpu_allowance_below(root, 16), 16);
}

static void the_real_one_follows_affinity(void **state)
{
    (void)state;
    cpu_set_t before;
    CPU_ZERO(&before);
    if (sched_getaffinity(0, sizeof(before), &before) != 0) {
        skip(); /* more CPUs than this test's set holds */
    }
    assert_true(cpu_allowance() >= 1);
    assert_true(cpu_allowance() <= (unsigned)CPU_COUNT(&before));

    cpu_set_t one;
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++) {
        if (CPU_ISSET(cpu, &before)) {
            CPU_SET(cpu, &one);
        }
    }
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    const unsigned allowed = cpu_allowance();
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    assert_int_equal(allowed, 1);
}

#define IN_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ROOT(no_cgroup_files),
        IN_ROOT(v2_quota_is_rounded_up),
        IN_ROOT(affinity_wins_when_it_is_less),
        IN_ROOT(v2_the_least_of_all_parents),
        IN_ROOT(v2_inside_a_container),
        IN_ROOT(v1_quota),
        IN_ROOT(v1_under_the_short_name),
        IN_ROOT(other_controllers_do_not_count),
        IN_ROOT(broken_lines_are_passed_over),
        cmocka_unit_test(the_real_one_follows_affinity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
