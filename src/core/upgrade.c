#include "admin.h"
#include "gateway.h"
#include "program.h"

#include <esclusa/log.h>
#include <esclusa/net.h>
#include <esclusa/str.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REMEDY_OLD_GOES_ON "this one goes on serving; mend it and send SIGUSR2 again"

static void failed(const char *error, const char *remedy)
{
    struct log_line line;
    log_begin(&line, LOG_LEVEL_ERROR, "upgrade_failed");
    log_text(&line, "error", error);
    log_text(&line, "remedy", remedy);
    log_end(&line);
}

bool upgrade_under_way(const struct gateway *g)
{
    return g->upgrade.fd >= 0;
}

/* A word and no more: whoever is not there any more need not be told. */
static void tell(int fd, const char *text)
{
    ssize_t sent = send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent;
}

/* ---- the old one: what is handed over ---- */

struct hand_over {
    int descriptors[LAUNCHER_DESCRIPTORS_MAX];
    size_t count;
    char names[LAUNCHER_TEXT_MAX - 256]; /* "LISTEN_FDNAMES=a::b" */
    size_t length;
    bool fits;
};

static void add(struct hand_over *h, int fd, const char *name)
{
    /* one is for the socket pair */
    h->fits =
        h->fits && h->count + 1 < LAUNCHER_DESCRIPTORS_MAX &&
        str_append(h->names, sizeof h->names, &h->length, "%s%s", h->count > 0 ? ":" : "", name);
    if (h->fits)
        h->descriptors[h->count++] = fd;
}

/* First the listeners, so that the nth descriptor is the nth of the set. */
static bool collect(const struct gateway *g, struct hand_over *h, struct error *err)
{
    const struct inherit *in = program_inherited(g->source.program);
    h->fits = true;
    (void)str_append(h->names, sizeof h->names, &h->length, "LISTEN_FDNAMES=");
    for (size_t i = 0; i < g->set->count; i++)
        add(h, g->set->items[i].fd, inherit_name(in, g->set->items[i].fd));
    if (admin_socket(g) >= 0)
        add(h, admin_socket(g), "");
    for (size_t i = 0; i < in->count; i++) {
        const struct inherited *item = &in->items[i];
        if (item->fd >= 0 && listen_set_find(g->set, item->fd) == NULL)
            add(h, item->fd, item->name);
    }
    return h->fits || error_set(err, "more than %d sockets cannot be handed over",
                                LAUNCHER_DESCRIPTORS_MAX - 1);
}

/* The new process, with the sockets and one end of the pair. */
static bool launch(struct gateway *g, int theirs, struct error *err)
{
    char count[32], ready[64];
    struct hand_over *h = calloc(1, sizeof *h);
    if (h == NULL)
        return error_set(err, "no memory");
    bool good = collect(g, h, err);
    if (good) {
        snprintf(count, sizeof count, "LISTEN_FDS=%zu", h->count);
        snprintf(ready, sizeof ready, INHERIT_READY_FD "=%zu", INHERIT_FIRST + h->count);
        const char *const environment[] = {count, h->names, ready, NULL};
        h->descriptors[h->count] = theirs;
        good = launcher_run(&g->source.program->launcher, h->descriptors, h->count + 1, environment,
                            &g->upgrade.pid, err);
        if (!good)
            error_prefix(err, "%s", g->source.program->path);
    }
    free(h);
    return good;
}

/* ---- the old one: how it went ---- */

static void forget(struct gateway *g)
{
    struct upgrade *u = &g->upgrade;
    timer_clear(g->loop, &u->timer);
    loop_io_remove(&u->io);
    close(u->fd);
    u->fd = -1;
}

static void give_up(struct gateway *g, const char *error)
{
    tell(g->upgrade.fd, "stop\n");
    forget(g);
    failed(error, REMEDY_OLD_GOES_ON);
    reload_again(g); /* if one was asked for meanwhile */
}

/* unused: " 0 3", those that the new one has no listener for; the paths of all others are its own
 * now. */
static void mark_given(struct gateway *g, const char *unused)
{
    for (size_t i = 0; i < g->set->count; i++)
        g->set->items[i].given = true;
    char *end = NULL;
    for (const char *at = unused; *at == ' '; at = end) {
        unsigned long i = strtoul(at + 1, &end, 10);
        if (end == at + 1)
            return;
        if (i < g->set->count)
            g->set->items[i].given = false;
    }
}

static void replaced(struct gateway *g, const char *unused)
{
    mark_given(g, unused);
    g->upgrade.replaced = true;
    struct log_line line;
    log_begin(&line, LOG_LEVEL_INFO, "upgraded");
    log_number(&line, "pid", g->upgrade.pid);
    log_number(&line, "sessions", (int64_t)atomic_load(&g->group.sessions));
    log_ms(&line, "timeout_ms", g->snapshot->config.upgrade_drain_timeout * 1000);
    log_end(&line);
    supervise_replaced(g, g->upgrade.pid); /* before that one speaks */
    tell(g->upgrade.fd, "go\n");
    forget(g);
    drain_replaced(g);
}

static void on_line(struct gateway *g, const char *text)
{
    static const char ready[] = "ready", not [] = "failed ";
    if (strncmp(text, ready, sizeof ready - 1) == 0)
        replaced(g, text + sizeof ready - 1);
    else if (strncmp(text, not, sizeof not -1) == 0)
        give_up(g, text + sizeof not -1);
    else
        give_up(g, "the new process said something that is not understood");
}

static void on_said(void *context, unsigned events)
{
    (void)events;
    struct gateway *g = context;
    struct upgrade *u = &g->upgrade;
    ssize_t got = recv(u->fd, u->said + u->length, sizeof u->said - 1 - u->length, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        give_up(g, "the new process ended before it served and did not say why");
        return;
    }
    u->length += (size_t)got;
    u->said[u->length] = '\0';
    char *end = strchr(u->said, '\n');
    if (end == NULL && u->length < sizeof u->said - 1)
        return;
    if (end != NULL)
        *end = '\0';
    on_line(g, u->said);
}

static void too_late(void *context)
{
    struct gateway *g = context;
    char text[128], after[32];
    size_t length = 0;
    str_format_duration(after, sizeof after, g->snapshot->config.upgrade_timeout);
    (void)str_append(text, sizeof text, &length,
                     "the new process did not serve within upgrade_timeout (%s)", after);
    give_up(g, text);
}

/* ---- the old one: beginning ---- */

/* NULL: it can be done. */
static const char *impossible(const struct gateway *g)
{
    const struct program *p = g->source.program;
    if (p == NULL || p->path == NULL)
        return "it is not known what program this is";
    if (getpid() == 1)
        return "this is process 1: with its end the system ends all others of the container";
    return p->launcher.fd < 0 ? "the process that would start it is missing" : NULL;
}

static bool start(struct gateway *g, struct error *err)
{
    struct upgrade *u = &g->upgrade;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return error_set_errno(err, errno, "socketpair");
    bool good = launch(g, pair[1], err);
    close(pair[1]);
    u->fd = pair[0];
    u->length = 0;
    int64_t due = loop_now(g->loop) + g->snapshot->config.upgrade_timeout;
    good = good && loop_io_add(g->loop, &u->io, u->fd, LOOP_READ, on_said, g, err);
    good = good && (timer_set(g->loop, &u->timer, due) || error_set(err, "no memory"));
    if (!good) {
        tell(u->fd, "stop\n");
        forget(g);
    }
    return good;
}

void upgrade_begin(struct gateway *g, const char *why)
{
    struct upgrade *u = &g->upgrade;
    if (g->stops > 0 || u->replaced || upgrade_under_way(g)) {
        log_message(LOG_LEVEL_INFO, "upgrade", "ignored (%s): %s", why,
                    upgrade_under_way(g) ? "one is being started" : "the gateway is stopping");
        return;
    }
    if (g->next_set != NULL) {
        u->wanted = true;
        return;
    }
    struct error err;
    error_init(&err);
    const char *not = impossible(g);
    if (not != NULL) {
        failed(not, "start the new version yourself: in a container, as a new one");
        return;
    }
    if (!start(g, &err)) {
        failed(err.text, REMEDY_OLD_GOES_ON);
        return;
    }
    struct log_line line;
    log_begin(&line, LOG_LEVEL_INFO, "upgrading");
    log_text(&line, "signal", why);
    log_text(&line, "program", g->source.program->path);
    log_number(&line, "pid", u->pid);
    log_end(&line);
}

void upgrade_after_reload(struct gateway *g)
{
    if (!g->upgrade.wanted)
        return;
    g->upgrade.wanted = false;
    upgrade_begin(g, "SIGUSR2");
}

void upgrade_abandon(struct gateway *g, const char *why)
{
    g->upgrade.wanted = false;
    if (!upgrade_under_way(g))
        return;
    tell(g->upgrade.fd, "stop\n");
    forget(g);
    char text[128];
    size_t length = 0;
    (void)str_append(text, sizeof text, &length, "this gateway was told to stop (%s)", why);
    failed(text, "send SIGUSR2 and wait for \"upgraded\" before it is stopped");
}

/* ---- the new one ---- */

static void part_from_old(struct gateway *g)
{
    loop_io_remove(&g->upgrade.old_io);
    close(g->upgrade.old_fd);
    g->upgrade.old_fd = -1;
}

static void on_old(void *context, unsigned events)
{
    (void)events;
    struct gateway *g = context;
    char text[16];
    ssize_t got = recv(g->upgrade.old_fd, text, sizeof text, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    part_from_old(g);
    if (got >= 4 && memcmp(text, "stop", 4) == 0)
        gateway_stop(g, "upgrade_abandoned");
    else
        gateway_serves(g, true);
}

void upgrade_ready(struct gateway *g)
{
    struct inherit *in = program_inherited(g->source.program);
    char text[LAUNCHER_DESCRIPTORS_MAX * 5 + 16];
    size_t length = 0;
    struct error err;
    error_init(&err);
    (void)str_append(text, sizeof text, &length, "ready");
    for (size_t i = 0; in != NULL && i < in->count; i++) {
        struct inherited *item = &in->items[i];
        if (item->claimed || item->name[0] != '\0')
            continue;
        sock_close(item->fd);
        item->fd = -1;
        (void)str_append(text, sizeof text, &length, " %zu", i);
    }
    (void)str_append(text, sizeof text, &length, "\n");
    if (in == NULL || in->ready_fd < 0) {
        gateway_serves(g, false);
        return;
    }
    g->upgrade.old_fd = in->ready_fd;
    in->ready_fd = -1;
    if (!loop_io_add(g->loop, &g->upgrade.old_io, g->upgrade.old_fd, LOOP_READ, on_old, g, &err)) {
        log_message(LOG_LEVEL_ERROR, "upgrade", "%s", err.text); /* the old one will give up */
        close(g->upgrade.old_fd);
        g->upgrade.old_fd = -1;
        gateway_stop(g, "upgrade_failed");
        return;
    }
    tell(g->upgrade.old_fd, text);
}

void upgrade_init(struct gateway *g)
{
    g->upgrade = (struct upgrade){.fd = -1, .old_fd = -1};
    timer_init(&g->upgrade.timer, too_late, g);
}

void upgrade_fini(struct gateway *g)
{
    if (upgrade_under_way(g))
        forget(g);
    if (g->upgrade.old_fd >= 0)
        part_from_old(g);
}
