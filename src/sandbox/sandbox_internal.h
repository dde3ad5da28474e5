/* Private to src/sandbox and its tests. */
#ifndef ESCLUSA_SANDBOX_INTERNAL_H
#define ESCLUSA_SANDBOX_INTERNAL_H

#include <esclusa/sandbox.h>

/* ---- landlock.c ---- */

/* Version of the kernel's Landlock; 0: none, or turned off at its boot. */
int landlock_abi(void);
/* A ruleset of the plan's paths, which need not be readable by the later user; -1: err says why.
 * The caller closes it. */
int landlock_rules(const struct sandbox_plan *plan, int abi, struct error *err) WARN_UNUSED;
/* The calling thread, and all that it starts, from now on. Needs no_new_privs. */
bool landlock_enter(int rules, struct error *err) WARN_UNUSED;

/* ---- calls.c: the system calls, each group with its reason ---- */

struct call_group {
    const char *title;
    const char *why;
    const char *names; /* separated by spaces */
};
extern const struct call_group calls_allowed[];  /* whatever their arguments; ends with NULL */
extern const struct call_group calls_filtered[]; /* by arguments: seccomp.c */
extern const struct call_group calls_fatal[];    /* the process is killed */
extern const struct call_group calls_refused[];  /* EPERM, rather than ENOSYS */

#define CALL_NAME_MAX 40
/* The next name of a group's; false: none is left. *at: 0 at first. */
bool call_next(const struct call_group *group, size_t *at, char name[CALL_NAME_MAX]);

/* ---- seccomp.c ---- */

bool seccomp_supported(void);
/* All threads, for good. */
bool seccomp_enter(struct error *err) WARN_UNUSED;

/* ---- privileges.c ---- */

/* The bounding set; before the user is changed, as it needs CAP_SETPCAP. */
void privileges_bound(uint32_t keep);
bool privileges_change_user(const struct sandbox_plan *plan, struct error *err) WARN_UNUSED;
/* The other sets, of this thread; what is kept stays permitted and effective. */
bool privileges_drop(uint32_t keep, struct error *err) WARN_UNUSED;
/* The capabilities that the plan keeps, a bit each; and their names ("": none). */
uint32_t privileges_kept(const struct sandbox_plan *plan);
const char *privileges_names(uint32_t keep);
uint32_t privileges_held(void); /* what is effective */
bool privileges_can_bind(void); /* CAP_NET_BIND_SERVICE is effective */
bool privileges_no_new(struct error *err) WARN_UNUSED;
bool privileges_no_dump(struct error *err) WARN_UNUSED;
/* Threads of this process; 0: not known. */
unsigned privileges_threads(void);

#endif
