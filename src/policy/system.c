/* getaddrinfo(3) in helper threads, since it blocks. Answers come back to the resolver's loop by a
 * message. One mutex guards all of it; the work itself is done without. */
#include "lookup.h"

#include <esclusa/clock.h>
#include <esclusa/str.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define ADDRESSES_MAX ((size_t)ANSWER_FAMILIES * ANSWER_FAMILY_MAX)

TAILQ_HEAD(task_list, task);
TAILQ_HEAD(helper_list, helper);

struct task {
    TAILQ_ENTRY(task) link; /* in the queue, or among those that were posted */
    struct loop_message message;
    struct system_world *world;
    struct lookup *lookup;
    bool ok;
    size_t count;
    struct net_addr list[ADDRESSES_MAX];
    struct error error;
    char host[NET_HOST_MAX]; /* a copy: the asker may be gone before the lookup returns */
};

struct helper {
    TAILQ_ENTRY(helper) link;
    struct system_world *world;
    pthread_t thread;
    bool looking_up;
    bool detached; /* not in the list any more: the thread frees this itself */
};

struct system_world {
    struct system_options options;
    struct loop *loop;
    pthread_mutex_t mutex;
    pthread_cond_t work; /* the queue is not empty, or ending */
    unsigned users;      /* the owner and each helper: the last one frees */
    bool ending;
    unsigned threads, idle;
    size_t queued;
    struct task_list queue, posted;
    struct helper_list helpers;
};

/* Unlocks. */
static void leave(struct system_world *w)
{
    bool last = --w->users == 0;
    pthread_mutex_unlock(&w->mutex);
    if (!last)
        return;
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

struct system_world *system_world_create(struct loop *loop, const struct system_options *options)
{
    struct system_world *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->options = *options;
    if (w->options.lookup == NULL)
        w->options.lookup = net_resolve_blocking;
    w->loop = loop;
    w->users = 1;
    TAILQ_INIT(&w->queue);
    TAILQ_INIT(&w->posted);
    TAILQ_INIT(&w->helpers);
    /* None of these can fail with glibc: they allocate nothing. */
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->work, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&w->mutex, NULL);
    return w;
}

/* ---- answers, on the resolver's thread ---- */

static struct answer *answer_of(const struct task *t)
{
    struct answer *a = answer_create(1);
    if (a == NULL)
        return NULL;
    int64_t now = clock_ms();
    for (int f = 0; f < ANSWER_FAMILIES; f++) {
        a->targets[0].parts[f].at_ms = now;
        if (t->ok)
            a->targets[0].parts[f].reason = RESOLVE_EMPTY;
    }
    for (size_t i = 0; t->ok && i < t->count; i++)
        (void)answer_add(&a->targets[0], &t->list[i].u.sa, t->list[i].length);
    answer_ttl(a, 0); /* it does not say */
    answer_conclude(a);
    if (!t->ok)
        (void)str_copy(a->why, sizeof a->why, t->error.text);
    return a;
}

static void delivered(struct loop_message *message)
{
    struct task *t = LOOP_OWNER(message, struct task, message);
    struct system_world *w = t->world;
    pthread_mutex_lock(&w->mutex);
    TAILQ_REMOVE(&w->posted, t, link);
    pthread_mutex_unlock(&w->mutex);
    t->lookup->answered(t->lookup, answer_of(t), true);
    free(t);
}

/* ---- helper threads ---- */

/* The mutex is held on entry and return, not in between. */
static void look_up(struct helper *helper, struct task *t)
{
    struct system_world *w = helper->world;
    TAILQ_REMOVE(&w->queue, t, link);
    w->queued--;
    helper->looking_up = true;
    pthread_mutex_unlock(&w->mutex);
    t->ok = w->options.lookup(t->host, 1, t->list, ADDRESSES_MAX, &t->count, &t->error);
    pthread_mutex_lock(&w->mutex);
    helper->looking_up = false;
    if (w->ending) {
        free(t);
        return;
    }
    TAILQ_INSERT_TAIL(&w->posted, t, link);
    loop_post(w->loop, &t->message);
}

/* The mutex is held. False: the thread has been idle for long, or all is ending. */
static bool wait_for_work(struct system_world *w)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(w->options.idle_ms / 1000);
    until.tv_nsec += (long)(w->options.idle_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    w->idle++;
    int status = 0;
    while (!w->ending && TAILQ_EMPTY(&w->queue) && status == 0)
        status = pthread_cond_timedwait(&w->work, &w->mutex, &until);
    w->idle--;
    return !w->ending && !TAILQ_EMPTY(&w->queue);
}

static void *helper_main(void *context)
{
    struct helper *helper = context;
    struct system_world *w = helper->world;
    pthread_mutex_lock(&w->mutex);
    while (wait_for_work(w))
        look_up(helper, TAILQ_FIRST(&w->queue));
    w->threads--;
    if (!w->ending) {
        TAILQ_REMOVE(&w->helpers, helper, link);
        helper->detached = true;
        pthread_detach(helper->thread);
    }
    if (helper->detached)
        free(helper);
    leave(w);
    return NULL;
}

/* The mutex is held: the new thread waits for it, so helper->thread is set when it runs. */
static bool start_helper(struct system_world *w)
{
    struct helper *helper = calloc(1, sizeof *helper);
    if (helper == NULL)
        return false;
    helper->world = w;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread inherits it: pthread_sigmask(3) */
    int status = pthread_create(&helper->thread, NULL, helper_main, helper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != 0) {
        free(helper);
        return false;
    }
    TAILQ_INSERT_TAIL(&w->helpers, helper, link);
    w->threads++;
    w->users++;
    return true;
}

/* The mutex is held. False: there is no thread at all to look it up. */
static bool assure_helper(struct system_world *w)
{
    if (w->queued > w->idle && w->threads < w->options.max_threads && !start_helper(w))
        return w->threads > 0;
    pthread_cond_signal(&w->work);
    return true;
}

/* ---- from outside ---- */

bool system_world_look_up(struct system_world *w, struct lookup *lookup)
{
    struct task *t = calloc(1, sizeof *t);
    if (t == NULL)
        return false;
    t->message.callback = delivered;
    t->world = w;
    t->lookup = lookup;
    (void)str_copy(t->host, sizeof t->host, lookup->host);
    pthread_mutex_lock(&w->mutex);
    TAILQ_INSERT_TAIL(&w->queue, t, link);
    w->queued++;
    bool done = assure_helper(w);
    if (!done) {
        TAILQ_REMOVE(&w->queue, t, link);
        w->queued--;
    }
    pthread_mutex_unlock(&w->mutex);
    if (!done)
        free(t);
    return done;
}

static void free_tasks(struct task_list *list)
{
    struct task *t = NULL;
    while ((t = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, t, link);
        free(t);
    }
}

void system_world_destroy(struct system_world **world)
{
    struct system_world *w = *world;
    if (w == NULL)
        return;
    *world = NULL;
    pthread_mutex_lock(&w->mutex);
    w->ending = true;
    pthread_cond_broadcast(&w->work);
    struct helper *next = NULL;
    for (struct helper *helper = TAILQ_FIRST(&w->helpers); helper != NULL; helper = next) {
        next = TAILQ_NEXT(helper, link);
        if (helper->looking_up) {
            TAILQ_REMOVE(&w->helpers, helper, link);
            helper->detached = true;
            pthread_detach(helper->thread);
        }
    }
    free_tasks(&w->queue);
    free_tasks(&w->posted); /* the loop will not deliver them: it is ending, too */
    pthread_mutex_unlock(&w->mutex);
    /* No helper changes the list once ending is set: what is left in it is ours. */
    struct helper *helper = NULL;
    while ((helper = TAILQ_FIRST(&w->helpers)) != NULL) {
        TAILQ_REMOVE(&w->helpers, helper, link);
        pthread_join(helper->thread, NULL);
        free(helper);
    }
    pthread_mutex_lock(&w->mutex);
    leave(w);
}

unsigned system_world_threads(struct system_world *w)
{
    pthread_mutex_lock(&w->mutex);
    unsigned threads = w->threads;
    pthread_mutex_unlock(&w->mutex);
    return threads;
}
