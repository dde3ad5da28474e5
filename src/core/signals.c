/* Signals: which ones the gateway takes, and what each does. Blocked in every thread and read from
 * a signalfd(2), so that handlers are ordinary code on the main thread. That holds for process 1 as
 * well: the kernel drops what process 1 has no handler for, but not what it has blocked
 * (pid_namespaces(7)). */
#include "gateway.h"

#include <esclusa/log.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct signal_row {
    int number;
    const char *name;
    void (*taken)(struct gateway *g, const char *name);
};

/* Process 1 is given the children whose parent has ended: a zombie each, until it asks. */
static void reap(struct gateway *g, const char *name)
{
    (void)g;
    (void)name;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
}

static void reopen(struct gateway *g, const char *name)
{
    (void)g;
    struct error err;
    error_init(&err);
    if (log_reopen(&err))
        return;
    struct log_line line;
    log_begin(&line, LOG_LEVEL_ERROR, "log_reopen_failed");
    log_text(&line, "signal", name);
    log_text(&line, "error", err.text);
    log_text(&line, "remedy",
             "the old file is written on; let the user that the gateway runs as write to the file, "
             "or make one in its directory, then send SIGUSR1 again");
    log_end(&line);
}

static const struct signal_row signal_table[] = {
    {SIGTERM, "SIGTERM", gateway_stop}, {SIGINT, "SIGINT", gateway_stop},
    {SIGHUP, "SIGHUP", reload_begin},   {SIGUSR2, "SIGUSR2", upgrade_begin},
    {SIGUSR1, "SIGUSR1", reopen},       {SIGCHLD, "SIGCHLD", reap},
};

#define SIGNALS (sizeof signal_table / sizeof signal_table[0])

static sigset_t signals_taken(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < SIGNALS; i++)
        sigaddset(&set, signal_table[i].number);
    return set;
}

void gateway_block_signals(void)
{
    sigset_t set = signals_taken();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* ignored by who started us, children would not be told of */
}

static void on_signal(void *context, unsigned events)
{
    (void)events;
    struct gateway *g = context;
    struct signalfd_siginfo info;
    while (read(g->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        for (size_t i = 0; i < SIGNALS; i++) {
            if (signal_table[i].number == (int)info.ssi_signo)
                signal_table[i].taken(g, signal_table[i].name);
        }
    }
}

bool signals_open(struct gateway *g, struct error *err)
{
    sigset_t set = signals_taken();
    g->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (g->signal_fd < 0)
        return error_set_errno(err, errno, "signalfd");
    return loop_io_add(g->loop, &g->signals, g->signal_fd, LOOP_READ, on_signal, g, err);
}

void signals_close(struct gateway *g)
{
    if (g->signal_fd < 0)
        return;
    loop_io_remove(&g->signals);
    close(g->signal_fd);
    g->signal_fd = -1;
}
