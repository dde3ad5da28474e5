/* The layers, in the order in which each is still possible. */
#include "sandbox_internal.h"

#include <esclusa/str.h>

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Sanitizers read their own files and trace the process at its end: the layers that would stop them
 * are left out of such a build. */
#ifdef ESCLUSA_SANITIZED
#define SANITIZED true
#else
#define SANITIZED false
#endif

#define UNPRIVILEGED_START "/proc/sys/net/ipv4/ip_unprivileged_port_start"

static void note(char text[SANDBOX_TEXT_MAX], const char *what)
{
    size_t length = strlen(text);
    (void)str_append(text, SANDBOX_TEXT_MAX, &length, "%s%s", length > 0 ? ", " : "", what);
}

/* A layer that cannot be had: told, or with SANDBOX_REQUIRE an error. */
static bool lacks(const struct sandbox_plan *plan, struct sandbox_report *report, const char *what,
                  struct error *err)
{
    note(report->missing, what);
    return plan->mode != SANDBOX_REQUIRE ||
           error_set(err,
                     "sandbox = require: %s; take a kernel that has it, or sandbox = on to run "
                     "with what there is",
                     what);
}

static void note_user(const struct sandbox_plan *plan, struct sandbox_report *report)
{
    char text[128];
    size_t length = 0;
    (void)str_append(text, sizeof text, &length, "user %u, group %u", (unsigned)geteuid(),
                     (unsigned)getegid());
    note(report->active, text);
    const char *kept = privileges_names(privileges_kept(plan) & privileges_held());
    if (kept[0] == '\0') {
        note(report->active, "no capabilities");
        return;
    }
    (void)snprintf(text, sizeof text, "%s only", kept);
    note(report->active, text);
}

static bool open_rules(const struct sandbox_plan *plan, struct sandbox_report *report, int *abi_r,
                       int *rules_r, struct error *err)
{
    *abi_r = landlock_abi();
    *rules_r = -1;
    if (SANITIZED)
        return lacks(plan, report, "landlock (a build with sanitizers)", err);
    if (*abi_r == 0)
        return lacks(plan, report, "landlock (the kernel has it since 5.13, and may have it off)",
                     err);
    if (privileges_threads() > 1)
        return error_set(err, "landlock: another thread runs already");
    *rules_r = landlock_rules(plan, *abi_r, err);
    return *rules_r >= 0;
}

static bool enter_landlock(struct sandbox_plan *plan, struct sandbox_report *report, int abi,
                           int rules, struct error *err)
{
    char text[64];
    size_t length = 0;
    if (rules < 0)
        return true;
    bool done = landlock_enter(rules, err);
    close(rules);
    plan->landlocked = done;
    (void)str_append(text, sizeof text, &length, "landlock %d", abi);
    if (done)
        note(report->active, text);
    return done;
}

static bool enter_dump(const struct sandbox_plan *plan, struct sandbox_report *report,
                       struct error *err)
{
    if (plan->core_dumps || SANITIZED) {
        note(report->missing, plan->core_dumps ? "no core dumps (core_dumps = true)"
                                               : "no core dumps (a build with sanitizers)");
        return true; /* asked for by name */
    }
    if (!privileges_no_dump(err))
        return false;
    note(report->active, "not dumpable");
    return true;
}

static bool enter_seccomp(const struct sandbox_plan *plan, struct sandbox_report *report,
                          struct error *err)
{
    if (SANITIZED)
        return lacks(plan, report, "seccomp (a build with sanitizers)", err);
    if (!seccomp_supported())
        return lacks(plan, report, "seccomp (the kernel has it since 4.14, and may have it off)",
                     err);
    if (!seccomp_enter(err))
        return false;
    note(report->active, "seccomp");
    return true;
}

bool sandbox_enter(struct sandbox_plan *plan, struct sandbox_report *report, struct error *err)
{
    int abi = 0;
    int rules = -1;
    memset(report, 0, sizeof *report);
    if (plan->mode == SANDBOX_OFF) {
        note(report->missing, "all of it (sandbox = off)");
        return privileges_change_user(plan, err);
    }
    if (plan->no_memory)
        return error_set(err, "no memory for the sandbox");
    bool could_bind = privileges_can_bind();
    if (!open_rules(plan, report, &abi, &rules, err))
        return false;
    privileges_bound(privileges_kept(plan));
    bool done = privileges_change_user(plan, err) && privileges_drop(privileges_kept(plan), err) &&
                privileges_no_new(err);
    if (!done) {
        if (rules >= 0)
            close(rules);
        return false;
    }
    note_user(plan, report);
    note(report->active, "no_new_privs");
    plan->without_bind = could_bind && !privileges_can_bind();
    plan->entered = true;
    return enter_dump(plan, report, err) && enter_landlock(plan, report, abi, rules, err) &&
           enter_seccomp(plan, report, err);
}

bool sandbox_bars_port(const struct sandbox_plan *plan, uint16_t port)
{
    char text[16] = "";
    uint64_t first = 1024;
    if (!plan->without_bind)
        return false;
    int fd = open(UNPRIVILEGED_START, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t length = read(fd, text, sizeof text - 1);
        close(fd);
        text[length > 0 ? length : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        if (!str_parse_u64(text, 0, UINT16_MAX + 1, &first))
            first = 1024;
    }
    return port < first;
}

/* ---- esclusa check --sandbox ---- */

static void print_calls(const char *action, const struct call_group *group, FILE *out)
{
    for (; group->title != NULL; group++) {
        fprintf(out, "%s: %s (%s)", action, group->title, group->why);
        fprintf(out, strcmp(group->names, group->title) == 0 ? "\n" : ": %s\n", group->names);
    }
}

static void print_path(const struct sandbox_path *p, FILE *out)
{
    static const struct {
        unsigned access;
        const char *word;
    } words[] = {{SANDBOX_READ, "read "}, {SANDBOX_SOCKETS, "sockets "}, {SANDBOX_WRITE, "write "}};
    char escaped[1024];
    str_escape(escaped, sizeof escaped, p->path, strlen(p->path));
    fputs("path ", out);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        fputs((p->access & words[i].access) != 0 ? words[i].word : "", out);
    fprintf(out, "%s: %s (%s)\n", p->alone ? "file" : "tree", escaped, p->why);
}

void sandbox_print(const struct sandbox_plan *plan, FILE *out)
{
    static const char *const modes[] = {"off", "on", "require"};
    int abi = landlock_abi();
    fprintf(out, "sandbox = %s\n", modes[plan->mode]);
    fprintf(out, "user: %u%s%s%s, group %u\n", (unsigned)plan->uid,
            plan->user[0] != '\0' ? " (" : "", plan->user, plan->user[0] != '\0' ? ")" : "",
            (unsigned)plan->gid);
    if (plan->mode == SANDBOX_OFF) {
        fputs("nothing is confined: sandbox is off\n", out);
        return;
    }
    const uint32_t keep = privileges_kept(plan);
    fprintf(out, "capabilities: %s\n", keep != 0 ? privileges_names(keep) : "none");
    fprintf(out, "core dumps: %s\n", plan->core_dumps ? "as the limits say" : "none, not dumpable");
    if (abi > 0)
        fprintf(out, "landlock: this kernel has version %d\n", abi);
    else
        fputs("landlock: this kernel has none, or it is off: paths are NOT confined\n", out);
    fprintf(out, "seccomp: %s\n",
            seccomp_supported() ? "this kernel has it"
                                : "this kernel has none: system calls are NOT confined");
    if (SANITIZED)
        fputs("a build with sanitizers: landlock, seccomp and core dumps are left as they are\n",
              out);
    for (size_t i = 0; i < plan->count; i++)
        print_path(&plan->paths[i], out);
    print_calls("allowed", calls_allowed, out);
    print_calls("filtered", calls_filtered, out);
    print_calls("EPERM", calls_refused, out);
    print_calls("killed", calls_fatal, out);
    fputs("ENOSYS: any other\n", out);
}
