/* What libraries read when the program has long been started: names are resolved, modules loaded,
 * memory measured. Each entry with its reader. What is not there is left out. */
#include "sandbox_internal.h"

#include <esclusa/str.h>

#include <limits.h>
#include <link.h>
#include <string.h>

struct known {
    const char *path;
    unsigned access;
    const char *why;
};

static const struct known known[] = {
    {"/dev/null", SANDBOX_READ | SANDBOX_WRITE, "the C library"},
    {"/dev/urandom", SANDBOX_READ, "OpenSSL"},
    {"/dev/random", SANDBOX_READ, "OpenSSL"},
    {"/proc/self", SANDBOX_READ, "this process's own state: the C library, metrics"},
    {"/proc/sys", SANDBOX_READ, "the kernel's settings: the C library, OpenSSL"},
    {"/proc/meminfo", SANDBOX_READ, "the C library"},
    {"/proc/stat", SANDBOX_READ, "the C library"},
    {"/proc/cpuinfo", SANDBOX_READ, "the C library"},
    {"/sys/devices/system/cpu", SANDBOX_READ, "the C library: number of CPUs"},
    {"/sys/fs/cgroup", SANDBOX_READ, "limits of this container"},
    {"/usr/share/zoneinfo", SANDBOX_READ, "the C library: local time"},
    {"/usr/share/ca-certificates", SANDBOX_READ, "the system store"},
    {"/usr/local/share/ca-certificates", SANDBOX_READ, "the system store"},
    {"/usr/lib/locale", SANDBOX_READ, "the C library"},
    {"/run/systemd/resolve", SANDBOX_READ, "resolv.conf of systemd-resolved"},
    {"/run/NetworkManager", SANDBOX_READ, "resolv.conf of NetworkManager"},
    {"/run/resolvconf", SANDBOX_READ, "resolv.conf of resolvconf"},
    {"/run/connman", SANDBOX_READ, "resolv.conf of connman"},
    {"/run/nscd", SANDBOX_READ, "name service cache"},
    {"/var/lib/sss/mc", SANDBOX_READ, "name service: sssd"},
    {"/usr/share/p11-kit", SANDBOX_READ, "PKCS#11 modules"},
};

/* Of /etc, where not all of it is granted. */
static const char *const etc[] = {
    "/etc/resolv.conf",  "/etc/hosts",           "/etc/nsswitch.conf",   "/etc/host.conf",
    "/etc/gai.conf",     "/etc/services",        "/etc/protocols",       "/etc/networks",
    "/etc/hostname",     "/etc/localtime",       "/etc/timezone",        "/etc/passwd",
    "/etc/group",        "/etc/ld.so.cache",     "/etc/ld.so.preload",   "/etc/ld.so.conf",
    "/etc/ld.so.conf.d", "/etc/machine-id",      "/etc/softhsm",         "/etc/pkcs11",
    "/etc/pki",          "/etc/crypto-policies", "/etc/ca-certificates", "/etc/system-fips",
};

static int library(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    if (info->dlpi_name != NULL && info->dlpi_name[0] == '/')
        sandbox_plan_parent(context, info->dlpi_name, SANDBOX_READ,
                            "libraries: name service and PKCS#11 modules are loaded late");
    return 0;
}

static void grant_etc(struct sandbox_plan *plan)
{
    if (plan->uid != 0) {
        /* What is secret there is not readable for this user, and a resolv.conf or hosts that is
         * written anew stays readable. */
        sandbox_plan_grant(plan, "/etc", SANDBOX_READ,
                           "name service, local time, libraries; file modes keep secrets");
        return;
    }
    for (size_t i = 0; i < sizeof etc / sizeof etc[0]; i++)
        sandbox_plan_grant(plan, etc[i], SANDBOX_READ, "name service, local time, libraries");
}

void sandbox_plan_system(struct sandbox_plan *plan)
{
    (void)dl_iterate_phdr(library, plan);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        sandbox_plan_grant(plan, known[i].path, known[i].access, known[i].why);
    grant_etc(plan);
}
