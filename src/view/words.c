#include "words.h"

#include <esclusa/str.h>

#include <string.h>

#define INTERVAL_MS     1000
#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_S  3600

static const struct command {
    const char *word, *usage;
} commands[] = {
    [VIEW_WHY] = {"why", "esclusa why [ID] --admin ADDR [--json]"},
    [VIEW_TOP] = {"top", "esclusa top --admin ADDR [--interval SECONDS] [--once]"},
};

static bool unknown(const struct view_words *w, const char *word, struct error *err)
{
    char shown[100];
    const struct command *c = &commands[w->command];
    str_escape(shown, sizeof shown, word, strlen(word));
    return error_set(err, "%s: \"%s\" is not known: %s", c->word, shown, c->usage);
}

/* The value of --name, from "--name=value" or the next word; NULL: this word is not --name. */
static const char *value_of(const char *name, int argc, char *const argv[], int *at,
                            struct error *err)
{
    const size_t length = strlen(name);
    if (strncmp(argv[*at], name, length) != 0)
        return NULL;
    if (argv[*at][length] == '=')
        return argv[*at] + length + 1;
    if (argv[*at][length] != '\0')
        return NULL;
    if (*at + 1 >= argc || argv[*at + 1] == NULL) {
        (void)error_set(err, "%s: a value must follow", name);
        return NULL;
    }
    return argv[++*at];
}

static bool parse_id(struct view_words *w, const char *word, struct error *err)
{
    if (str_parse_u64(word, 1, INT64_MAX, &w->id))
        return true;
    char shown[60];
    str_escape(shown, sizeof shown, word, strlen(word));
    return error_set(err, "why: \"%s\" is no ID of a session: a whole number, as in the log",
                     shown);
}

/* Seconds, with up to three digits behind the point. */
static bool parse_interval(struct view_words *w, const char *word, struct error *err)
{
    char whole[8], shown[60];
    uint64_t seconds = 0, part = 0;
    const size_t length = strcspn(word, ".");
    const char *digits = word[length] == '.' ? word + length + 1 : NULL;
    const size_t count = digits != NULL ? strlen(digits) : 0;
    bool good = length > 0 && length < sizeof whole && count <= 3 && (digits == NULL || count > 0);
    if (good) {
        memcpy(whole, word, length);
        whole[length] = '\0';
        good = str_parse_u64(whole, 0, INTERVAL_MAX_S, &seconds) &&
               (digits == NULL || str_parse_u64(digits, 0, 999, &part));
    }
    for (size_t i = count; i < 3; i++)
        part *= 10;
    w->interval_ms = (int64_t)(seconds * 1000 + part);
    if (good && w->interval_ms >= INTERVAL_MIN_MS &&
        w->interval_ms <= INT64_C(1000) * INTERVAL_MAX_S)
        return true;
    str_escape(shown, sizeof shown, word, strlen(word));
    return error_set(err, "--interval: \"%s\": give seconds, 0.1 to %d", shown, INTERVAL_MAX_S);
}

/* Those of one command. False: it is none of them, or a wrong one, and err is set. */
static bool parse_own(struct view_words *w, int argc, char *const argv[], int *at,
                      struct error *err)
{
    const char *word = argv[*at];
    if (w->command == VIEW_WHY) {
        if (strcmp(word, "--json") == 0)
            return w->json = true;
        return w->id == 0 && word[0] != '-' && parse_id(w, word, err);
    }
    const char *value = value_of("--interval", argc, argv, at, err);
    if (value != NULL)
        return parse_interval(w, value, err);
    return strcmp(word, "--once") == 0 && (w->once = true);
}

static bool parse_word(struct view_words *w, int argc, char *const argv[], int *at,
                       struct error *err)
{
    const char *word = argv[*at];
    const char *value = value_of("--admin", argc, argv, at, err);
    if (err->set)
        return false;
    if (value != NULL)
        return view_address_parse(&w->address, value, err);
    return parse_own(w, argc, argv, at, err) || unknown(w, word, err);
}

static bool parse_command(struct view_words *w, const char *word, struct error *err)
{
    for (size_t i = 0; word != NULL && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(word, commands[i].word) == 0) {
            w->command = (enum view_command)i;
            return true;
        }
    }
    return error_set(err, "say what to show: %s, or %s", commands[VIEW_WHY].usage,
                     commands[VIEW_TOP].usage);
}

bool view_words_parse(struct view_words *w, int argc, char *const argv[], struct error *err)
{
    memset(w, 0, sizeof *w);
    w->interval_ms = INTERVAL_MS;
    if (!parse_command(w, argc > 1 ? argv[1] : NULL, err))
        return false;
    for (int at = 2; at < argc && argv[at] != NULL; at++) {
        if (!parse_word(w, argc, argv, &at, err))
            return false;
    }
    if (w->address.text[0] == '\0')
        return error_set(err, "--admin is missing: the address of the gateway's admin endpoint");
    return true;
}
