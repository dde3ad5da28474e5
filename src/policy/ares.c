/* c-ares, and the only file that sees it: ares_init_options(3), ares_getaddrinfo(3),
 * ares_search(3).
 *
 * It runs on the resolver's loop and thread: c-ares says which of its sockets it waits for
 * (ARES_OPT_SOCK_STATE_CB) and for how long (ares_timeout(3)), the loop does the waiting. What
 * c-ares is not given to decide: what is kept (cache.h), and the order of addresses (answer.h).
 *
 * The hosts file is looked into first, for both families at once, since a name that is there is
 * there alone; it is read at each lookup. Then IPv6 and IPv4 are two questions, so that one that
 * stays unanswered does not take the other with it: an answer that could be used already is given
 * after a short grace. */
#define CARES_NO_DEPRECATED /* what replaces them is not in Debian 12's */
#include "lookup.h"
#include "wire.h"

#include <esclusa/clock.h>
#include <esclusa/str.h>

#include <ares.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESOLV_CONF   "/etc/resolv.conf"
#define LOOK_EVERY_MS 1000 /* at resolv.conf, while there are lookups */
#define GRACE_MS      50   /* RFC 8305 section 3: the resolution delay */
#define GRACE_SRV_MS  300  /* for the other targets' addresses */
#define SERVERS_MAX   1024
#define LEAST_WAIT_MS 250 /* of c-ares */
#define CLASS_IN      1
#define TYPE_SRV      33

struct ares_io {
    LIST_ENTRY(ares_io) link;
    struct loop_io io;
    struct loop_deferred deferred;
    struct ares_world *world;
    ares_channel channel;
    int fd;
};

/* What is waited for of one target; the argument of c-ares's callbacks. */
struct step {
    struct job *job;
    size_t target;
    enum answer_family family;
};

struct job {
    SLIST_ENTRY(job) link; /* when it is over */
    struct ares_world *world;
    struct lookup *lookup;
    struct answer *answer;
    unsigned outstanding; /* callbacks that will come, and one while steps are begun */
    struct timer grace;
    bool was_given; /* a first answer */
    struct step service, steps[ANSWER_TARGETS_MAX][ANSWER_FAMILIES];
};

LIST_HEAD(ares_ios, ares_io);
SLIST_HEAD(jobs, job);

struct ares_world {
    struct loop *loop;
    char servers[SERVERS_MAX];
    int timeout_ms, tries;
    void (*changed)(void *context, const char *why);
    void *context;
    ares_channel dns;   /* NULL: not made, or could not be */
    ares_channel files; /* the hosts file alone */
    struct ares_ios ios;
    unsigned under_way; /* jobs, those that are over included */
    struct jobs over;   /* nothing more will come: see settle() */
    struct timer timer;
    struct stat seen; /* resolv.conf, as it was read */
    int64_t looked_ms;
    bool ending;
};

static void begin_target(struct job *j, size_t target);
static void begin_dns(struct step *s);
static void begin_service(struct job *j);
static void settle(struct ares_world *w);

/* ---- sockets and time ---- */

/* c-ares's own timeouts, and the look at resolv.conf. */
static void arm(struct ares_world *w)
{
    struct timeval tv, *next = w->dns == NULL ? NULL : ares_timeout(w->dns, NULL, &tv);
    int64_t wait = LOOK_EVERY_MS;
    if (w->under_way == 0 && next == NULL) {
        timer_clear(w->loop, &w->timer);
        return;
    }
    if (next != NULL && next->tv_sec * 1000 + next->tv_usec / 1000 < wait)
        wait = next->tv_sec * 1000 + next->tv_usec / 1000 + 1;
    /* No memory for a timer: the next event of a socket tries again. */
    (void)!timer_set(w->loop, &w->timer, loop_now(w->loop) + wait);
}

static void on_io(void *context, unsigned events)
{
    struct ares_io *io = context;
    struct ares_world *w = io->world;
    int fd = io->fd;
    ares_process_fd(io->channel, events & (LOOP_READ | LOOP_HUP) ? fd : ARES_SOCKET_BAD,
                    events & (LOOP_WRITE | LOOP_HUP) ? fd : ARES_SOCKET_BAD);
    settle(w);
}

static void free_io(struct loop_deferred *deferred)
{
    free(LOOP_OWNER(deferred, struct ares_io, deferred));
}

static void drop_io(struct ares_io *io)
{
    loop_io_remove(&io->io);
    LIST_REMOVE(io, link);
    io->deferred.callback = free_io;
    loop_defer(io->world->loop, &io->deferred);
}

static void on_socket(void *context, ares_socket_t fd, int readable, int writable)
{
    struct ares_world *w = context;
    struct ares_io *io = NULL;
    unsigned interest = (readable ? LOOP_READ : 0U) | (writable ? LOOP_WRITE : 0U);
    LIST_FOREACH(io, &w->ios, link)
    {
        if (io->fd == fd)
            break;
    }
    if (io != NULL && interest == 0) {
        drop_io(io);
    } else if (io != NULL) {
        loop_io_set(&io->io, interest);
    } else if (interest != 0 && (io = calloc(1, sizeof *io)) != NULL) {
        io->world = w;
        io->channel = w->dns;
        io->fd = fd;
        if (loop_io_add(w->loop, &io->io, fd, interest, on_io, io, NULL))
            LIST_INSERT_HEAD(&w->ios, io, link);
        else
            free(io); /* what is asked through it runs into its timeout */
    }
}

/* ---- channels ---- */

static ares_channel make_channel(struct ares_world *w, const char *lookups, int *status_r)
{
    ares_channel channel = NULL;
    char words[8];
    (void)str_copy(words, sizeof words, lookups);
    struct ares_options options = {.timeout = w->timeout_ms,
                                   .tries = w->tries,
                                   .lookups = words,
                                   .sock_state_cb = on_socket,
                                   .sock_state_cb_data = w};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;
#ifdef ARES_OPT_UDP_MAX_QUERIES
    /* A socket, and so a port, for each question: harder to forge, and what is malformed ends no
     * other question. */
    options.udp_max_queries = 1;
    mask |= ARES_OPT_UDP_MAX_QUERIES;
#endif
#ifdef ARES_OPT_MAXTIMEOUTMS
    /* Since 1.32 it waits less for a server that has been quick, a quarter of a second at the
     * least, whatever is asked for: it gets as many rounds more as lead from there to our wait. */
    for (int wait = LEAST_WAIT_MS; wait < w->timeout_ms; wait *= 2)
        options.tries++;
    options.maxtimeout = w->timeout_ms;
    mask |= ARES_OPT_MAXTIMEOUTMS;
#endif
#ifdef ARES_OPT_QUERY_CACHE
    mask |= ARES_OPT_QUERY_CACHE; /* none: it would keep longer than we promise */
#endif
    *status_r = ares_init_options(&channel, &options, mask);
    if (*status_r != ARES_SUCCESS)
        return NULL;
    if (lookups[0] == 'b' && w->servers[0] != '\0')
        *status_r = ares_set_servers_ports_csv(channel, w->servers);
    if (*status_r == ARES_SUCCESS)
        return channel;
    ares_destroy(channel);
    return NULL;
}

/* From the new one on; what was under way on the old one begins anew, called back by its end. */
static bool renew_channel(struct ares_world *w, int *status_r)
{
    ares_channel made = make_channel(w, "b", status_r);
    if (made == NULL)
        return false;
    ares_channel before = w->dns;
    w->dns = made;
    if (before != NULL)
        ares_destroy(before);
    return true;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void look_at_system(struct ares_world *w)
{
    struct stat now = {.st_ino = 0};
    int64_t now_ms = loop_now(w->loop);
    if (w->looked_ms != 0 && now_ms - w->looked_ms < LOOK_EVERY_MS)
        return;
    bool first = w->looked_ms == 0;
    w->looked_ms = now_ms;
    (void)stat(RESOLV_CONF, &now); /* it need not be there */
    if (w->dns != NULL && is_same_file(&w->seen, &now))
        return;
    bool changed = !first && !is_same_file(&w->seen, &now);
    w->seen = now;
    int status = ARES_SUCCESS;
    /* c-ares takes a file that it may not read for one without servers. */
    int fd = open(RESOLV_CONF, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int why = fd < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    bool readable = why == 0 || why == ENOENT;
    bool made = (readable || w->dns == NULL) && renew_channel(w, &status);
    if (changed || (first && !readable))
        w->changed(w->context, !readable ? strerror(why) : made ? NULL : ares_strerror(status));
}

static void on_timer(void *context)
{
    struct ares_world *w = context;
    if (w->dns != NULL)
        ares_process_fd(w->dns, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    if (w->under_way > 0)
        look_at_system(w);
    settle(w);
}

/* ---- jobs ---- */

static enum resolve_reason reason_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return RESOLVE_OK;
    case ARES_ENODATA:
        return RESOLVE_EMPTY;
    case ARES_ENOTFOUND:
        return RESOLVE_NO_NAME;
    case ARES_ETIMEOUT:
        return RESOLVE_TIMEOUT;
    case ARES_ESERVFAIL:
    case ARES_ENOTIMP:
    case ARES_EREFUSED:
    case ARES_ECONNREFUSED: /* Debian 12's also for SERVFAIL and REFUSED of every server */
        return RESOLVE_SERVERS;
    case ARES_EFORMERR:
    case ARES_EBADRESP:
    case ARES_EBADNAME: /* in the answer: what we ask for has been checked */
        return RESOLVE_MALFORMED;
    default:
        return RESOLVE_OTHER;
    }
}

/* What there is so far: a copy, for more may come. */
static void give_first(void *context)
{
    struct job *j = context;
    size_t size = sizeof *j->answer + j->answer->count * sizeof j->answer->targets[0];
    struct answer *copy = malloc(size);
    if (copy == NULL)
        return; /* the last one will do */
    memcpy(copy, j->answer, size);
    answer_conclude(copy);
    j->was_given = true;
    j->lookup->answered(j->lookup, copy, false);
}

static void step_back(struct job *j)
{
    if (--j->outstanding == 0)
        SLIST_INSERT_HEAD(&j->world->over, j, link);
}

/* After each call into c-ares: outside of its callbacks, those that are over are answered. */
static void settle(struct ares_world *w)
{
    struct job *j = NULL;
    while ((j = SLIST_FIRST(&w->over)) != NULL) {
        struct answer *answer = j->answer;
        struct lookup *lookup = j->lookup;
        SLIST_REMOVE_HEAD(&w->over, link);
        w->under_way--;
        timer_clear(w->loop, &j->grace);
        free(j);
        if (w->ending) {
            free(answer);
            continue;
        }
        answer_conclude(answer);
        lookup->answered(lookup, answer, true);
    }
    arm(w);
}

/* c-ares called back because its channel went away. True: it is to be asked again. */
static bool is_asked_again(const struct job *j, int status)
{
    return (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED) && !j->world->ending;
}

static void note_addresses(struct job *j, size_t target, const struct ares_addrinfo *info)
{
    int64_t now = clock_ms();
    for (const struct ares_addrinfo_cname *c = info->cnames; c != NULL; c = c->next)
        answer_ttl(j->answer, c->ttl);
    for (const struct ares_addrinfo_node *n = info->nodes; n != NULL; n = n->ai_next) {
        answer_ttl(j->answer, n->ai_ttl);
        (void)answer_add(&j->answer->targets[target], n->ai_addr, n->ai_addrlen);
    }
    for (int f = 0; f < ANSWER_FAMILIES; f++)
        j->answer->targets[target].parts[f].at_ms = now;
    int64_t grace = j->lookup->srv ? GRACE_SRV_MS : GRACE_MS;
    if (!j->was_given && !timer_is_set(&j->grace))
        (void)!timer_set(j->world->loop, &j->grace, loop_now(j->world->loop) + grace);
}

static void on_addresses(void *context, int status, int timeouts, struct ares_addrinfo *info)
{
    struct step *s = context;
    struct job *j = s->job;
    (void)timeouts;
    if (is_asked_again(j, status)) {
        begin_dns(s);
    } else {
        if (status == ARES_SUCCESS && info->nodes != NULL)
            note_addresses(j, s->target, info);
        else
            j->answer->targets[s->target].parts[s->family].reason =
                status == ARES_SUCCESS ? RESOLVE_EMPTY : reason_of(status);
    }
    if (info != NULL)
        ares_freeaddrinfo(info);
    step_back(j);
}

static void begin_dns(struct step *s)
{
    static const int families[] = {[ANSWER_V6] = AF_INET6, [ANSWER_V4] = AF_INET};
    struct job *j = s->job;
    const struct answer_target *target = &j->answer->targets[s->target];
    const char *host = j->lookup->srv ? target->host : j->lookup->host;
    struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_NOSORT, .ai_family = families[s->family], .ai_socktype = SOCK_STREAM};
    j->outstanding++;
    if (j->world->dns == NULL)
        on_addresses(s, ARES_EFILE, 0, NULL);
    else
        ares_getaddrinfo(j->world->dns, host, NULL, &hints, on_addresses, s);
}

static void on_hosts_file(void *context, int status, int timeouts, struct ares_addrinfo *info)
{
    struct step *s = context;
    struct job *j = s->job;
    (void)timeouts;
    if (status == ARES_SUCCESS && info->nodes != NULL) {
        for (int f = 0; f < ANSWER_FAMILIES; f++) /* whichever is not in the file */
            j->answer->targets[s->target].parts[f].reason = RESOLVE_EMPTY;
        note_addresses(j, s->target, info);
        answer_ttl(j->answer, 0);
    } else if (!j->world->ending) {
        begin_dns(&j->steps[s->target][ANSWER_V6]);
        begin_dns(&j->steps[s->target][ANSWER_V4]);
    }
    if (info != NULL)
        ares_freeaddrinfo(info);
    step_back(j);
}

static void begin_target(struct job *j, size_t target)
{
    struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_NOSORT, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const char *host = j->lookup->srv ? j->answer->targets[target].host : j->lookup->host;
    for (enum answer_family f = 0; f < ANSWER_FAMILIES; f++)
        j->steps[target][f] = (struct step){.job = j, .target = target, .family = f};
    j->outstanding++;
    if (j->world->files == NULL)
        on_hosts_file(&j->steps[target][0], ARES_EFILE, 0, NULL);
    else
        ares_getaddrinfo(j->world->files, host, NULL, &hints, on_hosts_file, &j->steps[target][0]);
}

/* ---- SRV ---- */

static size_t count_records(const struct ares_srv_reply *records)
{
    size_t count = 0;
    for (; records != NULL && count < ANSWER_TARGETS_MAX; records = records->next)
        count += records->host[0] != '\0' && records->port != 0;
    return count;
}

/* False: no memory. */
static bool take_records(struct job *j, const struct ares_srv_reply *records, int64_t ttl)
{
    const size_t count = count_records(records);
    struct answer *answer = answer_create(count);
    if (answer == NULL)
        return false;
    free(j->answer);
    j->answer = answer;
    answer_ttl(answer, ttl);
    answer->reason = RESOLVE_NOT_OFFERED; /* the one target is "." */
    size_t at = 0;
    for (; records != NULL && at < count; records = records->next) {
        if (records->host[0] == '\0' || records->port == 0)
            continue;
        struct answer_target *target = &answer->targets[at++];
        (void)str_copy(target->host, sizeof target->host, records->host);
        target->priority = records->priority;
        target->weight = records->weight;
        target->port = records->port;
    }
    for (at = 0; at < count; at++)
        begin_target(j, at);
    return true;
}

static void on_records(void *context, int status, int timeouts, unsigned char *message, int length)
{
    struct step *s = context;
    struct job *j = s->job;
    struct ares_srv_reply *records = NULL;
    (void)timeouts;
    if (is_asked_again(j, status)) {
        begin_service(j);
        step_back(j);
        return;
    }
    int64_t ttl = 0;
    if (status == ARES_SUCCESS)
        status = ares_parse_srv_reply(message, length, &records);
    if (status == ARES_SUCCESS && (ttl = wire_least_ttl(message, (size_t)length)) < 0)
        status = ARES_EBADRESP;
    if (status != ARES_SUCCESS)
        j->answer->reason = reason_of(status);
    else if (records == NULL)
        j->answer->reason = RESOLVE_EMPTY;
    else if (!j->world->ending && !take_records(j, records, ttl))
        j->answer->reason = RESOLVE_OTHER;
    ares_free_data(records);
    step_back(j);
}

static void begin_service(struct job *j)
{
    j->outstanding++;
    if (j->world->dns == NULL)
        on_records(&j->service, ARES_EFILE, 0, NULL, 0);
    else
        ares_search(j->world->dns, j->lookup->host, CLASS_IN, TYPE_SRV, on_records, &j->service);
}

/* ---- from outside ---- */

bool ares_world_look_up(struct ares_world *w, struct lookup *lookup)
{
    struct job *j = calloc(1, sizeof *j);
    struct answer *answer = answer_create(lookup->srv ? 0 : 1);
    if (j == NULL || answer == NULL) {
        free(j);
        free(answer);
        return false;
    }
    j->world = w;
    j->lookup = lookup;
    j->answer = answer;
    j->service = (struct step){.job = j};
    j->outstanding = 1;
    timer_init(&j->grace, give_first, j);
    w->under_way++;
    look_at_system(w);
    if (lookup->srv)
        begin_service(j);
    else
        begin_target(j, 0);
    step_back(j);
    settle(w);
    return true;
}

static void set(struct ares_world *w, const struct ares_settings *settings)
{
    (void)str_copy(w->servers, sizeof w->servers, settings->servers);
    w->timeout_ms = settings->timeout_ms;
    w->tries = settings->tries;
}

struct ares_world *ares_world_create(struct loop *loop, const struct ares_settings *settings,
                                     void (*changed)(void *context, const char *why), void *context)
{
    struct ares_world *w = calloc(1, sizeof *w);
    int status = ARES_SUCCESS;
    if (w == NULL)
        return NULL;
    w->loop = loop;
    w->changed = changed;
    w->context = context;
    set(w, settings);
    LIST_INIT(&w->ios);
    SLIST_INIT(&w->over);
    timer_init(&w->timer, on_timer, w);
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        free(w);
        return NULL;
    }
    w->files = make_channel(w, "f", &status);
    return w;
}

bool ares_world_configure(struct ares_world *w, const struct ares_settings *settings)
{
    int status = ARES_SUCCESS;
    char servers[SERVERS_MAX];
    const struct ares_settings before = {
        .servers = servers, .timeout_ms = w->timeout_ms, .tries = w->tries};
    (void)str_copy(servers, sizeof servers, w->servers);
    set(w, settings);
    bool done = w->dns == NULL || renew_channel(w, &status);
    if (!done)
        set(w, &before);
    settle(w);
    return done;
}

void ares_world_destroy(struct ares_world **world)
{
    struct ares_world *w = *world;
    if (w == NULL)
        return;
    *world = NULL;
    w->ending = true;
    if (w->dns != NULL)
        ares_destroy(w->dns); /* calls back for each that is under way: all are over then */
    if (w->files != NULL)
        ares_destroy(w->files);
    w->dns = w->files = NULL;
    settle(w);
    while (!LIST_EMPTY(&w->ios))
        drop_io(LIST_FIRST(&w->ios));
    timer_clear(w->loop, &w->timer);
    ares_library_cleanup();
    free(w);
}
