/* inherit: listening sockets that were open when the program began, handed over by who started it:
 * systemd (sd_listen_fds(3), systemd.socket(5)), or the esclusa that this one takes over from,
 * which keeps to the same protocol and adds one variable.
 *
 *   LISTEN_PID      whom they are for; another process's are left alone
 *   LISTEN_FDS      how many, from descriptor 3 on
 *   LISTEN_FDNAMES  their names, ':' between them; a name may be empty
 *   ESCLUSA_READY_FD  a pipe on which the one that hands over is told how the start went
 *
 * A socket with a name is whoever's who made it: it is listened on as long as the configuration
 * says so and never closed or its path removed, so a reload may leave it and come back to it. One
 * without is of an address: it goes to the listener of that address, once, as if that had opened
 * it. Main thread, start and reload. Nothing blocks but inherit_at(). */
#ifndef ESCLUSA_INHERIT_H
#define ESCLUSA_INHERIT_H

#include <esclusa/net.h>

#define INHERIT_FIRST    3 /* SD_LISTEN_FDS_START */
#define INHERIT_READY_FD "ESCLUSA_READY_FD"

struct inherited {
    int fd;                     /* -1: given away or closed */
    char name[NET_FD_NAME_MAX]; /* "": by its address */
    struct net_addr addr;       /* where it listens */
    const char *unfit;          /* why it cannot be listened on; NULL: it can */
    bool claimed;               /* a listener uses it, or did */
};

struct inherit {
    struct inherited *items;
    size_t count;
    int ready_fd; /* -1: nobody waits to be told */
};

/* Reads the variables and takes them out of the environment; makes the descriptors close-on-exec
 * and non-blocking. False: they say what is not so (a descriptor that is not open, no number).
 * Before any other descriptor is opened, and before there are threads (unsetenv(3)). */
bool inherit_take(struct inherit *in, struct error *err) WARN_UNUSED;
/* Closes what is left. */
void inherit_fini(struct inherit *in);

/* How many sockets have that name, and the nth of them, which stays the list's; -1: err says why it
 * cannot be listened on. */
size_t inherit_count(const struct inherit *in, const char *name);
int inherit_named(struct inherit *in, const char *name, size_t nth, struct error *err) WARN_UNUSED;
/* The socket that listens where at says, or -1. *own_r: it is the caller's now, to close. BLOCKS
 * where the host is a name, and there is a socket left that it could be. */
int inherit_at(struct inherit *in, const struct net_endpoint *at, bool *own_r);
/* The name of a socket of the list; "" for any other. */
const char *inherit_name(const struct inherit *in, int fd);
/* The names that there are, "'a', 'b'", for an error; "" for none. */
void inherit_names(const struct inherit *in, char *dst, size_t size);

#endif
