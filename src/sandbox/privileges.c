/* User, group, capabilities, no_new_privs, core dumps: credentials(7), capabilities(7), prctl(2).
 * capset(2) by its raw system call: there is no wrapper but libcap's. */
#include "sandbox_internal.h"

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAPABILITIES_MOST 64

static bool set_groups(const struct sandbox_plan *plan)
{
    /* Without the privilege a process that has no other groups needs none taken away. */
    if (plan->user[0] != '\0' && initgroups(plan->user, plan->gid) == 0)
        return true;
    if (setgroups(1, &plan->gid) == 0)
        return true;
    return errno == EPERM && getegid() == plan->gid;
}

#define BIND (UINT32_C(1) << CAP_NET_BIND_SERVICE)
#define MARK (UINT32_C(1) << CAP_NET_ADMIN)

uint32_t privileges_kept(const struct sandbox_plan *plan)
{
    return (plan->keep_bind ? BIND : 0) | (plan->keep_mark ? MARK : 0);
}

const char *privileges_names(uint32_t keep)
{
    if (keep == (BIND | MARK))
        return "CAP_NET_BIND_SERVICE, CAP_NET_ADMIN";
    return keep == BIND ? "CAP_NET_BIND_SERVICE" : keep == MARK ? "CAP_NET_ADMIN" : "";
}

bool privileges_change_user(const struct sandbox_plan *plan, struct error *err)
{
    if (!plan->change_user)
        return true;
    bool same = geteuid() == plan->uid && getuid() == plan->uid && getegid() == plan->gid &&
                getgid() == plan->gid;
    if (same && geteuid() != 0)
        return true; /* already so, as after an upgrade or by a unit's User= */
    /* Kept over the change of user, so that what is kept afterwards can be chosen. */
    if (privileges_kept(plan) != 0)
        (void)prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (!set_groups(plan) || setresgid(plan->gid, plan->gid, plan->gid) != 0 ||
        setresuid(plan->uid, plan->uid, plan->uid) != 0)
        return error_set_errno(err, errno,
                               "cannot become user %u, group %u: start as root, or leave user and "
                               "group out",
                               (unsigned)plan->uid, (unsigned)plan->gid);
    /* The change has made it undumpable: prctl(2). */
    if (plan->core_dumps)
        (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    if (plan->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
        return error_set(err, "user %u can become root again", (unsigned)plan->uid);
    return true;
}

static bool get(struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    memset(data, 0, 2 * sizeof data[0]);
    return syscall(SYS_capget, &header, data) == 0;
}

uint32_t privileges_held(void)
{
    struct __user_cap_data_struct data[2];
    return get(data) ? data[0].effective : 0;
}

bool privileges_can_bind(void)
{
    return (privileges_held() & BIND) != 0;
}

/* Needs CAP_SETPCAP: who lacks it cannot gain anything from the bounding set either, for
 * no_new_privs ends what execve(2) would give. */
void privileges_bound(uint32_t keep)
{
    for (unsigned long cap = 0; cap < CAPABILITIES_MOST; cap++) {
        if (!(cap < 32 && (keep >> cap & 1) != 0) && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
            (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    }
}

bool privileges_drop(uint32_t keep, struct error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    struct __user_cap_data_struct held[2];
    memset(data, 0, sizeof data);
    if (!get(held))
        return error_set_errno(err, errno, "capabilities cannot be read");
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    data[0].effective = data[0].permitted = held[0].permitted & keep;
    return syscall(SYS_capset, &header, data) == 0 ||
           error_set_errno(err, errno, "capabilities cannot be dropped");
}

bool privileges_no_new(struct error *err)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ||
           error_set_errno(err, errno, "no_new_privs cannot be set");
}

bool privileges_no_dump(struct error *err)
{
    const struct rlimit none = {0, 0};
    return (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && setrlimit(RLIMIT_CORE, &none) == 0) ||
           error_set_errno(err, errno, "core dumps cannot be forbidden");
}

unsigned privileges_threads(void)
{
    unsigned count = 0;
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *entry;
    while (tasks != NULL && (entry = readdir(tasks)) != NULL)
        count += entry->d_name[0] != '.';
    if (tasks != NULL)
        closedir(tasks);
    return count;
}
