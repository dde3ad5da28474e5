/* The loop of `esclusa top`: one wait for the gateway's answers, keys and signals. */
#include "top.h"

#include "top_pages.h"
#include "top_poll.h"
#include "top_screen.h"
#include "top_state.h"

#include <esclusa/clock.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define DRAW_MS      1000  /* ages and countdowns go on without an answer */
#define RESTARTED_MS 10000 /* how long it is said */
#define LATE_MS      2000  /* beyond the interval */

enum { AT_KEYS, AT_SIGNALS, WAITED };

struct top {
    const struct view_words *words;
    struct top_poll poll;
    struct top_state state;
    struct page page;
    int signals;
    int64_t drawn_ms;
    bool over;
};

static void said_now(const struct top *t, struct top_said *said)
{
    const struct top_poll *p = &t->poll;
    const int64_t now = clock_ms();
    said->address = t->words->address.text;
    said->answer_age_s = p->model.known ? (double)(now - p->answered_ms) / 1000 : 0;
    const bool late = p->model.known && now - p->answered_ms > p->interval_ms + LATE_MS;
    said->trouble = p->trouble.set ? p->trouble.text : late ? "it is slow to answer" : "";
    said->restarted = p->restarted_ms != 0 && now - p->restarted_ms < RESTARTED_MS;
}

static const char *make_page(struct top *t)
{
    struct top_said said;
    const struct top_model *m = &t->poll.model;
    said_now(t, &said);
    page_begin(&t->page, screen_width());
    switch (t->state.mode) {
    case TOP_HELP:
        top_help(&t->page);
        return " q quit  ? or Esc back ";
    case TOP_ONE:
        top_head(&t->page, m, &said);
        top_detail(&t->page, m, &said, t->state.selected,
                   t->poll.failures_known ? &t->poll.failures : NULL);
        return " q quit  Esc back  Up Down scroll  ? help ";
    case TOP_LIST:
        break;
    }
    top_head(&t->page, m, &said);
    top_table(&t->page, m, &said, t->state.order, t->state.selected);
    return " q quit  Enter details  s sort  r reverse  ? help ";
}

static void draw(struct top *t)
{
    top_state_settle(&t->state, &t->poll.model);
    const char *foot = make_page(t);
    t->state.visible = screen_visible(&t->page);
    t->state.scroll = page_scroll(&t->page, t->state.scroll, t->state.visible);
    (void)screen_draw(&t->page, t->state.scroll, foot); /* else the next time */
    t->drawn_ms = clock_ms();
}

/* ---- what happens ---- */

static void on_signals(struct top *t)
{
    struct signalfd_siginfo one;
    while (read(t->signals, &one, sizeof one) == (ssize_t)sizeof one) {
        if (one.ssi_signo == SIGWINCH)
            screen_resize();
        else if (one.ssi_signo == SIGTSTP)
            screen_stop();
        else
            t->over = true;
    }
}

static void on_keys(struct top *t)
{
    bool any = false;
    for (int key = screen_key(); key != TOP_KEY_NONE && !t->over; key = screen_key()) {
        any = true;
        t->over = !top_state_key(&t->state, &t->poll.model, key);
    }
    if (!any && screen_is_gone())
        t->over = true;
    top_poll_failures(&t->poll, t->state.mode == TOP_ONE);
}

static void turn(struct top *t)
{
    const int fds[WAITED] = {[AT_KEYS] = STDIN_FILENO, [AT_SIGNALS] = t->signals};
    bool ready[WAITED] = {false};
    const int64_t left = t->drawn_ms + DRAW_MS - clock_ms();
    bool changed = top_poll_wait(&t->poll, fds, ready, WAITED, left > 0 ? (int)left : 0);
    if (ready[AT_SIGNALS])
        on_signals(t);
    if (ready[AT_KEYS] && !t->over)
        on_keys(t);
    changed = changed || ready[AT_SIGNALS] || ready[AT_KEYS] || clock_ms() - t->drawn_ms >= DRAW_MS;
    if (changed && !t->over)
        draw(t);
}

/* ---- from end to end ---- */

/* Taken from a descriptor, so that none interrupts a wait or ncurses. */
static bool open_signals(struct top *t, struct error *err)
{
    static const int wanted[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        (void)sigaddset(&set, wanted[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
        t->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return t->signals >= 0 || error_set(err, "signalfd: %s", strerror(errno));
}

bool top_run(const struct view_words *w, struct fetch *fetch, struct error *err)
{
    struct top t = {.words = w, .signals = -1};
    if (!open_signals(&t, err))
        return false;
    if (!screen_open(err)) {
        close(t.signals);
        return false;
    }
    top_poll_begin(&t.poll, fetch, w->address.text, w->interval_ms);
    draw(&t);
    while (!t.over)
        turn(&t);
    screen_close();
    top_poll_end(&t.poll);
    page_fini(&t.page);
    close(t.signals);
    return true;
}
