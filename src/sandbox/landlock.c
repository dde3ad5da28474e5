/* Landlock, landlock(7): the file system, as far as the plan grants it. By raw system calls: the C
 * library has no names for them. What a newer kernel can forbid than the header of the build knows
 * is named here, with the version of Landlock (its "ABI") that brought it. */
#include "sandbox_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE /* 3 */
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV /* 5 */
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif
#ifndef LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET /* 6 */
#define LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define LANDLOCK_SCOPE_SIGNAL               (1ULL << 1)
#endif

/* struct landlock_ruleset_attr as of version 6. An older kernel takes it where what it does not
 * know is zero. */
struct ruleset {
    uint64_t fs, net, scoped;
};

_Static_assert(sizeof(struct landlock_path_beneath_attr) == 12, "packed, as the kernel reads it");

int landlock_abi(void)
{
    long abi =
        syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi > 0 ? (int)abi : 0;
}

static uint64_t rights_of(int abi)
{
    uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* 1: the first thirteen */
    if (abi >= 2)
        rights |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
    if (abi >= 5)
        rights |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
    return rights;
}

static uint64_t rights_for(unsigned access, bool directory)
{
    uint64_t rights = 0;
    if (access & SANDBOX_READ)
        rights |= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    if (access & SANDBOX_SOCKETS)
        rights |= LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE;
    if (access & SANDBOX_WRITE)
        rights |= LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE |
                  LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
                  LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR;
    /* The kernel refuses rights of a directory on a file. */
    if (!directory)
        rights &= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                  LANDLOCK_ACCESS_FS_TRUNCATE;
    return rights;
}

static bool add_path(int rules, const struct sandbox_path *p, uint64_t handled, struct error *err)
{
    struct landlock_path_beneath_attr beneath = {.allowed_access = 0};
    struct stat status;
    beneath.parent_fd = open(p->path, O_PATH | O_CLOEXEC);
    if (beneath.parent_fd < 0)
        return errno == ENOENT || error_set_errno(err, errno, "landlock: %s", p->path);
    bool done = fstat(beneath.parent_fd, &status) == 0;
    if (done) {
        beneath.allowed_access = rights_for(p->access, S_ISDIR(status.st_mode)) & handled;
        done = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0U) == 0;
    }
    int why = errno;
    close(beneath.parent_fd);
    return done || error_set_errno(err, why, "landlock: a rule for %s", p->path);
}

int landlock_rules(const struct sandbox_plan *plan, int abi, struct error *err)
{
    struct ruleset attributes = {.fs = rights_of(abi)};
    /* TCP ports are left free: a reload may bring others, and Landlock cannot be widened. */
    if (abi >= 6)
        attributes.scoped = LANDLOCK_SCOPE_SIGNAL |
                            (plan->abstract_peers ? 0 : LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET);
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes,
                             abi >= 6 ? sizeof attributes : sizeof attributes.fs, 0U);
    if (rules < 0) {
        error_set_errno(err, errno, "landlock: no ruleset");
        return -1;
    }
    for (size_t i = 0; i < plan->count; i++) {
        if (!add_path(rules, &plan->paths[i], attributes.fs, err)) {
            close(rules);
            return -1;
        }
    }
    return rules;
}

bool landlock_enter(int rules, struct error *err)
{
    return syscall(SYS_landlock_restrict_self, rules, 0U) == 0 ||
           error_set_errno(err, errno, "landlock: cannot be entered");
}
