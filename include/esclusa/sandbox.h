/* sandbox: what the process may still do once it serves. A plan is made while it may do everything,
 * then entered once, for good: another user, no capabilities, no_new_privs, not dumpable, Landlock
 * over the file system, seccomp over the system calls. Knows nothing of the configuration:
 * src/core/confine.c says what it needs. libseccomp is met in src/sandbox/seccomp.c only, Landlock
 * in src/sandbox/landlock.c only.
 *
 * Threads: one, the main thread. Landlock and capabilities are a thread's own and are inherited by
 * those it starts, so sandbox_enter() comes before any other thread (landlock(7), capabilities(7)).
 * All of it may block on the file system but for sandbox_print(). */
#ifndef ESCLUSA_SANDBOX_H
#define ESCLUSA_SANDBOX_H

#include <esclusa/error.h>

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum sandbox_mode {
    SANDBOX_OFF,    /* user and group are changed if they are given, nothing else */
    SANDBOX_ON,     /* what the kernel has; the report says what it lacks */
    SANDBOX_REQUIRE /* a layer that cannot be had is an error */
};

enum sandbox_access {
    SANDBOX_READ = 1,    /* files, and what directories hold */
    SANDBOX_SOCKETS = 2, /* unix sockets made and removed */
    SANDBOX_WRITE = 4    /* files made, written, renamed and removed */
};

/* A directory and all below it, or, with alone, one file that is lost when another takes its name:
 * Landlock knows files by inode. */
struct sandbox_path {
    char *path; /* links followed */
    unsigned access;
    bool alone;
    dev_t device;
    ino_t inode;
    const char *why;
};

struct sandbox_plan {
    enum sandbox_mode mode;
    bool change_user; /* to these; the name is for messages and initgroups(3) */
    uid_t uid;
    gid_t gid;
    char user[256];
    bool keep_bind;      /* keeps CAP_NET_BIND_SERVICE */
    bool keep_mark;      /* keeps CAP_NET_ADMIN, for SO_MARK */
    bool core_dumps;     /* stays dumpable, and keeps RLIMIT_CORE */
    bool abstract_peers; /* connects to abstract unix sockets of other processes */
    struct sandbox_path *paths;
    size_t count, capacity;
    bool no_memory; /* some path is missing: sandbox_enter() fails */
    /* since sandbox_enter() */
    bool entered, landlocked, without_bind;
};

void sandbox_plan_init(struct sandbox_plan *plan, enum sandbox_mode mode);
void sandbox_plan_fini(struct sandbox_plan *plan);

/* By name or number. group NULL: the user's own. user NULL: the present one, with another group.
 * The error names what is unknown. To be called first: who it will be decides what of /etc is
 * granted. */
bool sandbox_plan_user(struct sandbox_plan *plan, const char *user, const char *group,
                       struct error *err) WARN_UNUSED;

/* What is granted for a path that a user names. For a file: the directory it is in, and each that
 * a chain of links to it passes through, so that a file written anew and a link turned (also a
 * directory's, like `..data`) are still readable; a directory that is everybody's ("/", "/etc" for
 * root, "/root", "/home/x", ...) is not given away for a file in it: the file is alone. For a
 * directory: itself, and where links in it lead. One that is not there counts as a file.
 * why: static. */
void sandbox_plan_file(struct sandbox_plan *plan, const char *path, const char *why);
/* The path itself, as it stands, if it is there. why: static. */
void sandbox_plan_grant(struct sandbox_plan *plan, const char *path, unsigned access,
                        const char *why);
/* The directory that path is in. why: static. */
void sandbox_plan_parent(struct sandbox_plan *plan, const char *path, unsigned access,
                         const char *why);
/* What the C library, its name service modules and OpenSSL read later on. After all the others. */
void sandbox_plan_system(struct sandbox_plan *plan);

#define SANDBOX_TEXT_MAX 512
struct sandbox_report {
    char active[SANDBOX_TEXT_MAX]; /* "user esclusa, no capabilities, landlock 7, ..." */
    char
        missing[SANDBOX_TEXT_MAX]; /* what the kernel, or this build, lacks, and why; "": nothing */
};

/* Once, and for good. False: the process is in an undefined part of it and must end. With
 * SANDBOX_OFF only the user is changed. */
bool sandbox_enter(struct sandbox_plan *plan, struct sandbox_report *report,
                   struct error *err) WARN_UNUSED;

/* After sandbox_enter(): whether the file system part lets the path be used so; true where it is
 * not in force. A path that is not there is judged by its directory. */
bool sandbox_covers(const struct sandbox_plan *plan, const char *path, unsigned access);
/* A port that the process could bind at its start and no longer can. */
bool sandbox_bars_port(const struct sandbox_plan *plan, uint16_t port);

/* `esclusa check --sandbox`: user, capabilities, what the kernel has, paths, system calls. */
void sandbox_print(const struct sandbox_plan *plan, FILE *out);

#endif
