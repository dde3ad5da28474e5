/* upgrade: the program started anew, perhaps another version of it, with this one's listening
 * sockets; once that one serves, this one drains. Private to core; main thread.
 *
 * The two speak over a socket pair (inherit.h), a line each:
 *   new -> old   "ready", with " N" for each socket that it has no listener for, or "failed WHY"
 *   old -> new   "go": it is the gateway now; "stop": nobody waits for it any more
 * That the old one is gone without a word means that it has crashed: the new one goes on. */
#ifndef ESCLUSA_CORE_UPGRADE_H
#define ESCLUSA_CORE_UPGRADE_H

#include <esclusa/error.h>
#include <esclusa/event.h>

#include <sys/types.h>

struct gateway;

struct upgrade {
    /* of one that replaces this one */
    bool wanted;   /* once the reload that goes on is over */
    bool replaced; /* it serves; this one drains */
    int fd;        /* -1: none is being started */
    pid_t pid;
    struct loop_io io;
    struct timer timer;
    char said[ERROR_TEXT_MAX + 16];
    size_t length;
    /* of the one that this one replaces */
    struct loop_io old_io;
    int old_fd; /* -1: there is none, or it is told everything */
};

void upgrade_init(struct gateway *g);
void upgrade_fini(struct gateway *g);
/* SIGUSR2. */
void upgrade_begin(struct gateway *g, const char *why);
/* A reload is over. */
void upgrade_after_reload(struct gateway *g);
/* The gateway is to stop: the one that is being started is told, and forgotten. */
void upgrade_abandon(struct gateway *g, const char *why);
/* A new one is being started. */
bool upgrade_under_way(const struct gateway *g);
/* This one serves: closes what it was handed and has no listener for, and tells the old one, if
 * there is one. gateway_serves() is called once that has let go. */
void upgrade_ready(struct gateway *g);

#endif
