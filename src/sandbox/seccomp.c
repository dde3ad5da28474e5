/* seccomp(2) by libseccomp: the only file that sees it. What calls.c allows is allowed, some of it
 * with a look at the arguments; a few calls kill the process; any other fails with ENOSYS, at which
 * the C library falls back on an older call. The kernel keeps those that are allowed whatever their
 * arguments in a bitmap (since 5.11), so that they cost next to nothing. */
#include "sandbox_internal.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#define SOCKET_TYPE_MASK 0xfU /* without SOCK_NONBLOCK and SOCK_CLOEXEC: socket(2) */
#define FAMILY_MOST      AF_NETLINK

/* One filter being built; the first failure is kept. */
struct filter {
    scmp_filter_ctx ctx;
    int failed; /* 0, or -errno of libseccomp */
    char at[CALL_NAME_MAX];
};

static void rule(struct filter *f, uint32_t action, const char *name, unsigned count,
                 const struct scmp_arg_cmp *comparisons)
{
    int number = seccomp_syscall_resolve_name(name);
    if (f->failed != 0 || number == __NR_SCMP_ERROR)
        return;
    int done = seccomp_rule_add_array(f->ctx, action, number, count, comparisons);
    /* EDOM, EFAULT: not on this architecture. */
    if (done != 0 && done != -EDOM && done != -EFAULT && done != -EEXIST) {
        f->failed = done;
        memcpy(f->at, name, strlen(name) + 1);
    }
}

static void groups(struct filter *f, uint32_t action, const struct call_group *group)
{
    for (; group->title != NULL; group++) {
        char name[CALL_NAME_MAX];
        size_t at = 0;
        while (call_next(group, &at, name))
            rule(f, action, name, 0, NULL);
    }
}

#define RULE(f, action, name, ...)                                                                 \
    rule((f), (action), (name),                                                                    \
         sizeof((struct scmp_arg_cmp[]){__VA_ARGS__}) / sizeof(struct scmp_arg_cmp),               \
         (struct scmp_arg_cmp[]){__VA_ARGS__})

/* ---- those with a look at their arguments ---- */

static void sockets(struct filter *f)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
    static const uint64_t types[] = {SOCK_STREAM, SOCK_DGRAM};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        for (size_t k = 0; k < sizeof types / sizeof types[0]; k++)
            RULE(f, SCMP_ACT_ALLOW, "socket", SCMP_A0(SCMP_CMP_EQ, (uint64_t)families[i]),
                 SCMP_A1(SCMP_CMP_MASKED_EQ, SOCKET_TYPE_MASK, types[k]));
    }
    RULE(f, SCMP_ACT_ALLOW, "socket", SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
         SCMP_A2(SCMP_CMP_EQ, NETLINK_ROUTE)); /* addresses, for getaddrinfo(3) */
    RULE(f, SCMP_ACT_ALLOW, "socket", SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
         SCMP_A2(SCMP_CMP_EQ, NETLINK_SOCK_DIAG)); /* whose a loopback consumer is */
    for (unsigned family = 0; family < FAMILY_MOST; family++) {
        if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
            RULE(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", SCMP_A0(SCMP_CMP_EQ, family));
    }
    RULE(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", SCMP_A0(SCMP_CMP_GT, FAMILY_MOST));
    RULE(f, SCMP_ACT_ERRNO(EPERM), "socket", SCMP_A0(SCMP_CMP_EQ, AF_INET),
         SCMP_A1(SCMP_CMP_MASKED_EQ, SOCKET_TYPE_MASK, SOCK_RAW));
    RULE(f, SCMP_ACT_ERRNO(EPERM), "socket", SCMP_A0(SCMP_CMP_EQ, AF_INET6),
         SCMP_A1(SCMP_CMP_MASKED_EQ, SOCKET_TYPE_MASK, SOCK_RAW));
    RULE(f, SCMP_ACT_ALLOW, "socketpair", SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
}

/* Flags are the first argument on all but s390x (clone(2)). */
static void threads(struct filter *f)
{
#ifdef __s390x__
#define CLONE_FLAGS SCMP_A1
#else
#define CLONE_FLAGS SCMP_A0
#endif
    RULE(f, SCMP_ACT_ALLOW, "clone", CLONE_FLAGS(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    RULE(f, SCMP_ACT_ERRNO(EPERM), "clone", CLONE_FLAGS(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
}

/* Code comes from files (name service and PKCS#11 modules are loaded late), never from memory that
 * was written. */
static void executable_memory(struct filter *f)
{
    static const char *const maps[] = {"mmap", "mmap2"};
    for (size_t i = 0; i < 2; i++) {
        RULE(f, SCMP_ACT_ALLOW, maps[i], SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
        RULE(f, SCMP_ACT_ALLOW, maps[i],
             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC),
             SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0));
    }
    RULE(f, SCMP_ACT_ALLOW, "mprotect", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    RULE(f, SCMP_ACT_ERRNO(EACCES), "mprotect", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
}

static void controls(struct filter *f)
{
    static const int options[] = {PR_SET_NAME,         PR_GET_NAME,     PR_SET_VMA,
                                  PR_GET_DUMPABLE,     PR_CAPBSET_READ, PR_GET_SECCOMP,
                                  PR_GET_NO_NEW_PRIVS, PR_SET_PDEATHSIG};
    static const unsigned long requests[] = {FIONREAD,    FIONBIO,     SIOCOUTQ,     TCGETS,
                                             TIOCGWINSZ,  SIOCGIFNAME, SIOCGIFINDEX, SIOCGIFFLAGS,
                                             SIOCGIFADDR, SIOCGIFCONF, FIOCLEX};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        RULE(f, SCMP_ACT_ALLOW, "prctl",
             SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint64_t)options[i]));
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
        RULE(f, SCMP_ACT_ALLOW, "ioctl", SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, requests[i]));
}

static void own_process(struct filter *f)
{
    uint64_t self = (uint64_t)getpid();
    RULE(f, SCMP_ACT_ALLOW, "kill", SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, self));
    RULE(f, SCMP_ACT_ALLOW, "tgkill", SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, self));
    RULE(f, SCMP_ACT_ALLOW, "prlimit64", SCMP_A2(SCMP_CMP_EQ, 0));
}

/* ---- the whole ---- */

static void attributes(struct filter *f, bool told)
{
    /* Another architecture's calls on this machine: whatever they are, they are an attack. */
    int done = seccomp_attr_set(f->ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (done == 0)
        done = seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    f->failed = done;
    /* The rest makes it cheaper or tells more, where there is a libseccomp and a kernel for it: a
     * log line in the kernel for what is refused; no slowdown of the CPU against code of others,
     * as none runs here (before 5.16 seccomp brought it); a tree instead of a list. */
    (void)seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_LOG, told);
    (void)seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_SSB, 1);
    (void)seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
}

bool seccomp_supported(void)
{
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 && seccomp_api_get() >= 3; /* KILL_PROCESS */
}

static bool load(struct filter *f, struct error *err)
{
    int done = f->failed != 0 ? f->failed : seccomp_load(f->ctx);
    seccomp_release(f->ctx);
    return done == 0 || error_set_errno(err, -done, "seccomp: %s%s",
                                        f->at[0] != '\0' ? "a rule for " : "the filter", f->at);
}

/* clone3(2) hides its flags in memory, where no filter can look: it is answered with ENOSYS, and
 * the C library, which asks for each thread, uses clone. A filter of its own, for that is no attack
 * and not to be told in the kernel's log. */
static bool enter_quiet(struct error *err)
{
    struct filter f = {.ctx = seccomp_init(SCMP_ACT_ALLOW)};
    if (f.ctx == NULL)
        return error_set(err, "seccomp: no filter can be made");
    attributes(&f, false);
    rule(&f, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
    return load(&f, err);
}

bool seccomp_enter(struct error *err)
{
    if (!enter_quiet(err))
        return false;
    struct filter f = {.ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS))};
    if (f.ctx == NULL)
        return error_set(err, "seccomp: no filter can be made");
    attributes(&f, true);
    groups(&f, SCMP_ACT_ALLOW, calls_allowed);
    groups(&f, SCMP_ACT_ERRNO(EPERM), calls_refused);
    groups(&f, SCMP_ACT_KILL_PROCESS, calls_fatal);
    sockets(&f);
    threads(&f);
    executable_memory(&f);
    controls(&f);
    rule(&f, SCMP_ACT_ALLOW, "clone3", 0, NULL); /* enter_quiet() has answered */
    own_process(&f);
    return load(&f, err);
}
