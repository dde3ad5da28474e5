#include "top_screen.h"

#include "top_state.h"

#include <curses.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* How long an escape waits for what makes it an arrow: a network may take them apart. */
#define ESCAPE_MS 100

static SCREEN *terminal;
static bool coloured;

static void set_up_colours(void)
{
    static const short colours[] = {
        [TONE_GOOD] = COLOR_GREEN, [TONE_WARN] = COLOR_YELLOW, [TONE_BAD] = COLOR_RED};
    const char *unwanted = getenv("NO_COLOR"); /* https://no-color.org */
    coloured = has_colors() && (unwanted == NULL || unwanted[0] == '\0') && start_color() == OK;
    if (!coloured)
        return;
    const short behind = use_default_colors() == OK ? -1 : COLOR_BLACK;
    for (enum tone tone = TONE_GOOD; tone <= TONE_BAD; tone++)
        (void)init_pair((short)tone, colours[tone], behind);
}

bool screen_open(struct error *err)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return error_set(err, "top: standard input and output must be a terminal; --once prints "
                              "one table to wherever it is sent");
    terminal = newterm(NULL, stdout, stdin);
    if (terminal == NULL)
        return error_set(err, "top: this kind of terminal (TERM) is not known; set another, or "
                              "take --once, which prints one table");
    set_escdelay(ESCAPE_MS);
    (void)cbreak();
    (void)noecho();
    (void)nonl();
    (void)nodelay(stdscr, TRUE);
    (void)keypad(stdscr, TRUE);
    (void)curs_set(0);
    set_up_colours();
    return true;
}

void screen_close(void)
{
    if (terminal == NULL)
        return;
    (void)endwin();
    delscreen(terminal);
    terminal = NULL;
}

/* ---- keys ---- */

int screen_key(void)
{
    static const struct {
        int code, key;
    } keys[] = {
        {KEY_UP, TOP_KEY_UP},       {KEY_DOWN, TOP_KEY_DOWN},     {KEY_LEFT, TOP_KEY_LEFT},
        {KEY_RIGHT, TOP_KEY_ENTER}, {KEY_PPAGE, TOP_KEY_PAGE_UP}, {KEY_NPAGE, TOP_KEY_PAGE_DOWN},
        {KEY_HOME, TOP_KEY_HOME},   {KEY_END, TOP_KEY_END},       {KEY_ENTER, TOP_KEY_ENTER},
        {'\r', TOP_KEY_ENTER},      {'\n', TOP_KEY_ENTER},        {KEY_BACKSPACE, TOP_KEY_BACK},
        {0x1b, TOP_KEY_BACK},       {0x7f, TOP_KEY_BACK},         {'\b', TOP_KEY_BACK},
    };
    for (int code = getch(); code != ERR; code = getch()) {
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            if (keys[i].code == code)
                return keys[i].key;
        }
        if (code > 0x20 && code < 0x7f)
            return code;
        /* of no use: the next */
    }
    return TOP_KEY_NONE;
}

bool screen_is_gone(void)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    int waiting = 0;
    if (poll(&p, 1, 0) <= 0)
        return false;
    if ((p.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
        return true;
    return ioctl(STDIN_FILENO, FIONREAD, &waiting) != 0 || waiting == 0;
}

/* ---- what is seen ---- */

void screen_resize(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        (void)resizeterm(size.ws_row, size.ws_col);
    (void)clearok(curscr, TRUE);
}

size_t screen_width(void)
{
    return COLS > 0 ? (size_t)COLS : 1;
}

size_t screen_visible(const struct page *p)
{
    const size_t taken = p->fixed + 1;
    return LINES > 0 && (size_t)LINES > taken ? (size_t)LINES - taken : 0;
}

static chtype look(enum tone tone)
{
    switch (tone) {
    case TONE_PLAIN:
        break;
    case TONE_HEAD:
        return A_BOLD;
    case TONE_GOOD:
        return coloured ? (chtype)COLOR_PAIR(TONE_GOOD) : A_NORMAL;
    case TONE_WARN:
        return coloured ? (chtype)COLOR_PAIR(TONE_WARN) : A_BOLD;
    case TONE_BAD:
        return (coloured ? (chtype)COLOR_PAIR(TONE_BAD) : A_NORMAL) | A_BOLD;
    }
    return A_NORMAL;
}

static void draw_part(int row, const struct page_line *line, size_t from, size_t to, chtype how)
{
    const size_t width = screen_width();
    if (to > width)
        to = width;
    if (from >= to)
        return;
    (void)attrset((int)how); /* NOLINT(bugprone-narrowing-conversions): as ncurses has it */
    (void)mvaddnstr(row, (int)from, line->text + from, (int)(to - from));
}

static void draw_line(int row, const struct page_line *line, bool selected)
{
    const chtype more = selected ? A_REVERSE : A_NORMAL;
    size_t at = 0;
    for (size_t i = 0; i < line->part_count; i++) {
        const struct page_part *part = &line->parts[i];
        draw_part(row, line, at, part->from, look(line->tone) | more);
        draw_part(row, line, part->from, part->to, look(part->tone) | more);
        at = part->to;
    }
    draw_part(row, line, at, line->length, look(line->tone) | more);
}

/* A terminal that was stopped (Ctrl-S), or whose network is: writing would wait for it. */
static bool takes_output(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) > 0 && (p.revents & POLLOUT) != 0;
}

bool screen_draw(const struct page *p, size_t scroll, const char *foot)
{
    const size_t rows = LINES > 0 ? (size_t)LINES : 1, visible = screen_visible(p);
    if (!takes_output())
        return false;
    (void)erase();
    for (size_t i = 0; i < p->fixed && i + 1 < rows; i++)
        draw_line((int)i, &p->lines[i], false);
    for (size_t i = 0; i < visible && p->fixed + scroll + i < p->count; i++) {
        const size_t line = p->fixed + scroll + i;
        draw_line((int)(p->fixed + i), &p->lines[line], line == p->selected);
    }
    (void)attrset(A_REVERSE);
    (void)mvaddnstr((int)rows - 1, 0, foot, (int)screen_width() - 1); /* the corner would scroll */
    (void)attrset(A_NORMAL);
    (void)refresh();
    return true;
}

void screen_stop(void)
{
    (void)endwin();
    (void)raise(SIGSTOP);
    screen_resize();
    (void)curs_set(0);
}
