/* How many CPUs this process may use. A container on a big host often may use a few only, by
 * affinity or, more often, by a CPU quota of its cgroup: more workers than that would be throttled
 * in the middle of their work. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE ((size_t)2 * PATH_MAX)

/* Reads the first line, without its newline. */
static bool read_line(const char *path, char *dst, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    const bool ok = fgets(dst, (int)size, file) != NULL;
    fclose(file);
    if (ok) {
        dst[strcspn(dst, "\n")] = '\0';
    }
    return ok;
}

/* How many CPUs quota in every period makes, rounded up: half a CPU more is worth a worker. */
static unsigned quota_cpus(uint64_t quota, uint64_t period)
{
    const uint64_t cpus = quota / period + (quota % period == 0 ? 0 : 1);
    return cpus > UINT_MAX ? UINT_MAX : (unsigned)cpus;
}

/* cgroup v2, "200000 100000" or "max 100000". UINT_MAX: no limit here. */
static unsigned limit_v2(const char *directory)
{
    char path[PATH_SIZE];
    char line[128];
    size_t length = 0;
    if (!str_append(path, sizeof(path), &length, "%s/cpu.max", directory) ||
        !read_line(path, line, sizeof(line))) {
        return UINT_MAX;
    }
    char *space = strchr(line, ' ');
    if (space == NULL) {
        return UINT_MAX;
    }
    *space = '\0';
    uint64_t quota = 0;
    uint64_t period = 0;
    if (!str_parse_u64(line, 1, UINT64_MAX, &quota) ||
        !str_parse_u64(space + 1, 1, UINT64_MAX, &period)) {
        return UINT_MAX;
    }
    return quota_cpus(quota, period);
}

/* cgroup v1: two files; a quota of -1 is none. */
static unsigned limit_v1(const char *directory)
{
    char path[PATH_SIZE];
    char quota_line[64];
    char period_line[64];
    size_t length = 0;
    if (!str_append(path, sizeof(path), &length, "%s/cpu.cfs_quota_us", directory) ||
        !read_line(path, quota_line, sizeof(quota_line))) {
        return UINT_MAX;
    }
    length = 0;
    if (!str_append(path, sizeof(path), &length, "%s/cpu.cfs_period_us", directory) ||
        !read_line(path, period_line, sizeof(period_line))) {
        return UINT_MAX;
    }
    uint64_t quota = 0;
    uint64_t period = 0;
    if (!str_parse_u64(quota_line, 1, UINT64_MAX, &quota) ||
        !str_parse_u64(period_line, 1, UINT64_MAX, &period)) {
        return UINT_MAX;
    }
    return quota_cpus(quota, period);
}

/* The least limit of a cgroup and all above it: a parent's quota binds its children (cgroups(7)).
 * In a container without a cgroup namespace the path is the host's and the mount shows our own
 * subtree as its top: the directories that do not exist are passed over and the top is ours. */
static unsigned limit_of_path(const char *mount, const char *cgroup,
                              unsigned (*limit)(const char *directory))
{
    char directory[PATH_SIZE - 64]; /* room for the names of the files */
    size_t length = 0;
    if (!str_append(directory, sizeof(directory), &length, "%s", mount)) {
        return UINT_MAX;
    }
    const size_t top = length;
    /* "/../x": we are outside of our cgroup namespace's root; that cannot be followed. */
    if (strstr(cgroup, "/..") == NULL &&
        !str_append(directory, sizeof(directory), &length, "%s", cgroup)) {
        return UINT_MAX;
    }
    unsigned least = UINT_MAX;
    for (;;) {
        const unsigned here = limit(directory);
        least = here < least ? here : least;
        if (length <= top) {
            return least;
        }
        while (length > top && directory[length - 1] != '/') {
            length--;
        }
        length -= length > top ? 1 : 0;
        directory[length] = '\0';
    }
}

static bool has_cpu_controller(char *controllers)
{
    char *rest = NULL;
    for (const char *c = strtok_r(controllers, ",", &rest); c != NULL;
         c = strtok_r(NULL, ",", &rest)) {
        if (strcmp(c, "cpu") == 0) {
            return true;
        }
    }
    return false;
}

/* One line of /proc/self/cgroup, "id:controllers:path"; v2 is "0::path". */
static unsigned limit_of_line(const char *root, char *line)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *cgroup = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (cgroup == NULL) {
        return UINT_MAX;
    }
    controllers++;
    *cgroup++ = '\0';

    /* Where systemd and container runtimes mount them. */
    const bool v2 = controllers[0] == '\0';
    static const char *const v2_mounts[] = {"", "/unified"};
    static const char *const v1_mounts[] = {"/cpu", "/cpu,cpuacct"};
    const char *const *mounts = v2 ? v2_mounts : v1_mounts;
    if (!v2 && !has_cpu_controller(controllers)) {
        return UINT_MAX;
    }
    unsigned least = UINT_MAX;
    for (size_t i = 0; i < 2; i++) {
        char mount[PATH_SIZE];
        size_t length = 0;
        (void)str_append(mount, sizeof(mount), &length, "%s/sys/fs/cgroup%s", root, mounts[i]);
        const unsigned here = limit_of_path(mount, cgroup, v2 ? limit_v2 : limit_v1);
        least = here < least ? here : least;
    }
    return least;
}

unsigned cpu_allowance_below(const char *root, unsigned affinity)
{
    unsigned least = affinity == 0 ? 1 : affinity;
    char path[PATH_SIZE];
    size_t length = 0;
    (void)str_append(path, sizeof(path), &length, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return least;
    }
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) > 0) {
        const unsigned here = limit_of_line(root, line);
        least = here < least ? here : least;
    }
    free(line);
    fclose(file);
    return least;
}

/* sched_getaffinity(2) says EINVAL when the set is smaller than the kernel's. */
static unsigned affinity_cpus(void)
{
    for (int room = CPU_SETSIZE; room <= 64 * CPU_SETSIZE; room *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)room);
        if (set == NULL) {
            break;
        }
        const size_t size = CPU_ALLOC_SIZE((size_t)room);
        const int failed = sched_getaffinity(0, size, set);
        const int count = failed == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0) {
            return (unsigned)count;
        }
    }
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : (unsigned)online;
}

unsigned cpu_allowance(void)
{
    return cpu_allowance_below("", affinity_cpus());
}
