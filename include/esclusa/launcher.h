/* launcher: a small process that starts the program anew for one that no longer may. A gateway in
 * its sandbox can make no process and run no program, and what it started would be confined as it
 * is, by rules that nothing can widen: another configuration, a newer binary's system calls, ports
 * below 1024 would be out of its reach for ever. So the launcher is forked at the very start, as
 * the user who started the program, before anything secret is read. It reads nothing but requests
 * from its one socket, starts nothing but the program it was made for, with the arguments and the
 * environment of the start, and ends when the gateway does.
 *
 * What a gateway that was taken over gains by it: the program started once more as it was, with
 * descriptors of its choice. Not with variables of its choice: with LD_PRELOAD it would run what it
 * likes, outside of the sandbox and as the user of the start.
 *
 * Threads: main; launcher_start() before there is another. */
#ifndef ESCLUSA_LAUNCHER_H
#define ESCLUSA_LAUNCHER_H

#include <esclusa/error.h>

#include <stddef.h>
#include <sys/types.h>

#define LAUNCHER_DESCRIPTORS_MAX 250 /* of one message: SCM_MAX_FD, unix(7) */
#define LAUNCHER_TEXT_MAX        16384
#define LAUNCHER_FIRST           3 /* the first descriptor handed over, as in sd_listen_fds(3) */

struct launcher {
    int fd; /* -1: there is none */
    pid_t pid;
};

/* Forks it. path: of the program, looked up anew at each request, so that a newer file of that name
 * is what runs; NULL: this one's own, /proc/self/exe. argv: borrowed; the launcher has its copy.
 * variables: the names, NULL behind them, of those that a request may set. */
bool launcher_start(struct launcher *l, const char *path, char *const argv[],
                    const char *const variables[], struct error *err) WARN_UNUSED;
/* Starts the program with descriptors[i] as LAUNCHER_FIRST + i, standard ones as they are, all
 * others closed, no signal blocked or ignored. environment: "NAME=VALUE" texts that replace those
 * of the start, ends with NULL; one that was not permitted refuses the request; LISTEN_PID is set
 * to the new process. BLOCKS until it runs or could
 * not be run, a few milliseconds. The new process is a child of init, or of who takes orphans: pass
 * the end of a pipe along to learn of its end. */
bool launcher_run(struct launcher *l, const int *descriptors, size_t count,
                  const char *const environment[], pid_t *pid_r, struct error *err) WARN_UNUSED;
/* Ends it. */
void launcher_stop(struct launcher *l);

#endif
