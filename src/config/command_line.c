/* The command line: words to options. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <string.h>

/* Words that are known but are no options of the table. */
enum special { SPECIAL_HELP, SPECIAL_VERSION, SPECIAL_EXPLAIN, SPECIAL_CONFIG, SPECIAL_FORMAT };

struct special_word {
    const char *flag;
    char letter;
    enum special what;
    const char *argument; /* NULL: takes none */
    const char *refusal;  /* NULL: the word is taken */
};

static const struct special_word special_words[] = {
    {"--help", 'h', SPECIAL_HELP, NULL, NULL},
    {"--version", 'V', SPECIAL_VERSION, NULL, NULL},
    {"--explain", 0, SPECIAL_EXPLAIN, NULL, NULL},
    {"--config", 0, SPECIAL_CONFIG, "FILE", NULL},
    {"--format", 0, SPECIAL_FORMAT, "text|json", NULL},
    {"--insecure-skip-verify", 0, SPECIAL_HELP, NULL,
     "is no option of the command line: it exists in a service's block of a config file only, as "
     "insecure_skip_verify = true; give the upstream's CA with --ca instead"},
};

#define SPECIAL_WORDS (sizeof(special_words) / sizeof(special_words[0]))

static const struct special_word *special_word(const char *flag)
{
    for (size_t i = 0; i < SPECIAL_WORDS; i++) {
        const struct special_word *w = &special_words[i];
        const char letter[] = {'-', w->letter, '\0'};
        if (strcmp(w->flag, flag) == 0 || (w->letter != '\0' && strcmp(letter, flag) == 0)) {
            return w;
        }
    }
    return NULL;
}

/* ---- "did you mean" ---- */

/* Puts the likeliest option in flag, or "". typed: without a value. */
static void guess_option(const char *typed, char *flag, size_t size)
{
    /* "-connect", as other programs write it, is one dash short of an option. */
    char full[OPTION_FLAG_MAX];
    size_t length = 0;
    const bool two_dashes = strncmp(typed, "--", 2) == 0;
    const bool fits = str_append(full, sizeof(full), &length, "%s%s", two_dashes ? "" : "-", typed);
    flag[0] = '\0';
    if (!fits || length < strlen("--")) {
        return;
    }
    struct guess best;
    guess_begin(&best, full, length - strlen("--"));
    for (size_t i = 0; i < option_count; i++) {
        char candidate[OPTION_FLAG_MAX];
        if (!option_table[i].file_only) {
            option_flag(&option_table[i], candidate, sizeof(candidate));
            guess_consider(&best, candidate);
        }
    }
    for (size_t i = 0; i < SPECIAL_WORDS; i++) {
        if (special_words[i].refusal == NULL) {
            guess_consider(&best, special_words[i].flag);
        }
    }
    (void)str_copy(flag, size, best.word);
}

/* ---- words ---- */

struct reader {
    int argc;
    char *const *argv;
    int next;
    struct config *config;
    enum command command;
    bool checks;                          /* the first word is "check" */
    bool format_given;                    /* --format */
    const struct option_row *service_row; /* the first option of a service; NULL: none */
};

static struct origin *origin_of(struct reader *r, const struct option_row *row)
{
    struct origin *origins =
        row->scope == OPTION_GLOBAL ? r->config->origins : r->config->services[0].origins;
    return &origins[row - option_table];
}

/* An option word taken apart: "--name=value" or "--name" or "-l". */
struct option_word {
    char flag[OPTION_FLAG_MAX];
    const char *value; /* behind the first '='; NULL: none */
};

/* False: longer than any option. */
static bool split_word(struct option_word *w, const char *word)
{
    const char *equals = strchr(word, '=');
    const size_t length = equals == NULL ? strlen(word) : (size_t)(equals - word);
    w->value = equals == NULL ? NULL : equals + 1;
    if (length >= sizeof(w->flag)) {
        w->flag[0] = '\0';
        return false;
    }
    memcpy(w->flag, word, length);
    w->flag[length] = '\0';
    return true;
}

static bool is_known_option(const char *word)
{
    struct option_word w;
    return split_word(&w, word) && (option_by_flag(w.flag) != NULL || special_word(w.flag) != NULL);
}

static bool refuse_unknown(const char *word, const struct option_word *w, struct error *err)
{
    char shown[4 * OPTION_FLAG_MAX + 1];
    const size_t name_length = strcspn(word, "=");
    const size_t shown_length = name_length < OPTION_FLAG_MAX ? name_length : OPTION_FLAG_MAX;
    str_escape(shown, sizeof(shown), word, shown_length);

    char guess[OPTION_FLAG_MAX];
    guess_option(w->flag, guess, sizeof(guess));
    if (guess[0] != '\0') {
        return error_set(err, "%s: unknown option; did you mean %s?", shown, guess);
    }
    if (word[1] != '-' && option_by_flag((const char[]){'-', word[1], '\0'}) != NULL) {
        return error_set(err, "%s: unknown option; the value of -%c is the next word: -%c %s",
                         shown, word[1], word[1],
                         option_by_flag((const char[]){'-', word[1], '\0'})->argument);
    }
    return error_set(err, "%s: unknown option; esclusa --help lists them", shown);
}

static bool store(struct reader *r, const struct option_row *row, const char *value,
                  struct error *err)
{
    char flag[OPTION_FLAG_MAX];
    char quoted[QUOTE_MAX];
    option_flag(row, flag, sizeof(flag));
    struct origin *origin = origin_of(r, row);
    if (origin->kind != ORIGIN_NONE && row->type != OPTION_TEXT_LIST) {
        /* Where a passphrase or a key is expected to be said, it may be that itself: check_tls.c.
         */
        const bool secret = row->path || strcmp(row->argument, "SOURCE") == 0;
        config_quote(quoted, sizeof(quoted), value);
        return error_set(err, "%s%s%s: given a second time; give it once", flag, secret ? "" : " ",
                         secret ? "" : quoted);
    }
    struct error reason;
    error_init(&reason);
    if (!option_store(row, config_base_of(r->config, row), value, &reason)) {
        return error_set(err, "%s %s", flag, reason.text);
    }
    origin->kind = ORIGIN_COMMAND_LINE;
    if (row->scope == OPTION_SERVICE && r->service_row == NULL) {
        r->service_row = row;
    }
    return true;
}

/* The value of an option: behind its '=', or the next word. NULL: err says that there is none. */
static const char *value_of(struct reader *r, const struct option_word *w, const char *argument,
                            struct error *err)
{
    if (w->value != NULL) {
        return w->value;
    }
    if (r->next >= r->argc) {
        (void)error_set(err, "%s: its value is missing; give %s", w->flag, argument);
        return NULL;
    }
    const char *value = r->argv[r->next];
    if (value[0] == '-' && is_known_option(value)) {
        char quoted[QUOTE_MAX];
        config_quote(quoted, sizeof(quoted), value);
        (void)error_set(err, "%s: its value is missing, as %s is an option; give %s", w->flag,
                        quoted, argument);
        return NULL;
    }
    r->next++;
    return value;
}

/* `esclusa check --sandbox` alone asks to see it; with a value it is the option. */
static bool shows_sandbox(const struct reader *r, const struct option_word *w,
                          const struct option_row *row)
{
    if (!r->checks || row == NULL || strcmp(row->name, "sandbox") != 0 || w->value != NULL) {
        return false;
    }
    for (const struct option_choice *c = row->choices; r->next < r->argc && c->word != NULL; c++) {
        if (strcmp(r->argv[r->next], c->word) == 0) {
            return false;
        }
    }
    return r->next >= r->argc || r->argv[r->next][0] == '-';
}

static bool refuse_positional(const char *word, bool first, struct error *err)
{
    char quoted[QUOTE_MAX];
    config_quote(quoted, sizeof(quoted), word);
    if (strcmp(word, "check") == 0) {
        return error_set(err, "%s: in the wrong place; check comes first: esclusa check OPTIONS",
                         quoted);
    }
    if (first && strlen(word) < OPTION_FLAG_MAX && str_distance(word, "check") <= 2) {
        return error_set(err, "%s: unknown command; did you mean check?", quoted);
    }
    return error_set(err,
                     "%s: not an option; addresses are given as --listen ADDR and "
                     "--connect ADDR",
                     quoted);
}

static bool read_config(struct reader *r, const char *value, struct error *err)
{
    char quoted[QUOTE_MAX];
    config_quote(quoted, sizeof(quoted), value);
    if (r->config->file != NULL) {
        return error_set(err,
                         "--config %s: given a second time; give one file, which may @include "
                         "others",
                         quoted);
    }
    if (value[0] == '\0') {
        return error_set(err, "--config '': empty; give FILE");
    }
    r->config->file = str_dup(value);
    return r->config->file != NULL || error_set(err, "no memory");
}

static bool read_format(struct reader *r, const char *value, struct error *err)
{
    char quoted[QUOTE_MAX];
    config_quote(quoted, sizeof(quoted), value);
    if (r->format_given) {
        return error_set(err, "--format %s: given a second time; give it once", quoted);
    }
    if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0) {
        return error_set(err, "--format %s: unknown; give text or json", quoted);
    }
    r->config->check_format = value[0] == 'j' ? CHECK_JSON : CHECK_TEXT;
    r->format_given = true;
    return true;
}

static bool read_special(struct reader *r, const struct special_word *s,
                         const struct option_word *w, struct error *err)
{
    if (s->refusal != NULL) {
        return error_set(err, "%s %s", s->flag, s->refusal);
    }
    if (w->value != NULL && s->argument == NULL) {
        char quoted[QUOTE_MAX];
        config_quote(quoted, sizeof(quoted), w->value);
        return error_set(err, "%s %s: takes no value; write %s alone", s->flag, quoted, s->flag);
    }
    const char *value = s->argument == NULL ? "" : value_of(r, w, s->argument, err);
    if (value == NULL) {
        return false;
    }
    switch (s->what) {
    case SPECIAL_HELP:
        r->command = COMMAND_HELP;
        return true;
    case SPECIAL_VERSION:
        r->command = COMMAND_VERSION;
        return true;
    case SPECIAL_EXPLAIN:
        r->command = COMMAND_EXPLAIN;
        return r->checks ||
               error_set(err, "--explain: belongs to check; write esclusa check --explain");
    case SPECIAL_CONFIG:
        return read_config(r, value, err);
    case SPECIAL_FORMAT:
        return read_format(r, value, err);
    }
    return false;
}

/* One option with its value. */
static bool read_option(struct reader *r, const char *word, struct error *err)
{
    struct option_word w;
    const bool fits = split_word(&w, word);
    const struct special_word *special = special_word(w.flag);
    const struct option_row *row = option_by_flag(w.flag);
    /* A value behind '=' belongs to the long form only. */
    const bool short_with_value = word[1] != '-' && w.value != NULL;
    if (fits && special != NULL) {
        return read_special(r, special, &w, err);
    }
    if (fits && shows_sandbox(r, &w, row)) {
        r->config->show_sandbox = true;
        return true;
    }
    if (fits && row != NULL && !short_with_value) {
        const char *value = value_of(r, &w, row->argument, err);
        return value != NULL && store(r, row, value, err);
    }
    return refuse_unknown(word, &w, err);
}

/* Stops behind the first word after which no other counts. */
static bool read_words(struct reader *r, struct error *err)
{
    bool options_ended = false;
    while (r->next < r->argc) {
        const int at = r->next++;
        const char *word = r->argv[at];
        if (!options_ended && strcmp(word, "--") == 0) {
            options_ended = true;
            continue;
        }
        if (options_ended || word[0] != '-' || word[1] == '\0') {
            return refuse_positional(word, at == 1, err);
        }
        if (!read_option(r, word, err)) {
            return false;
        }
        if (r->command != COMMAND_RUN && r->command != COMMAND_CHECK) {
            return true;
        }
    }
    return true;
}

bool config_from_command_line(struct config *c, int argc, char *const argv[],
                              enum command *command_r, struct error *err)
{
    struct reader r = {.argc = argc, .argv = argv, .next = 1, .config = c};
    r.command = COMMAND_RUN;
    if (argc > 1 && strcmp(argv[1], "check") == 0) {
        r.command = COMMAND_CHECK;
        r.checks = true;
        r.next = 2;
    }
    const bool read = read_words(&r, err);
    *command_r = r.command;
    if (!read || (r.command != COMMAND_RUN && r.command != COMMAND_CHECK)) {
        return read;
    }
    if (r.format_given && !r.checks) {
        return error_set(err, "--format: belongs to check; write esclusa check --format ...");
    }
    if (c->file == NULL) {
        return config_check(c, err);
    }
    if (r.service_row != NULL) {
        char flag[OPTION_FLAG_MAX];
        option_flag(r.service_row, flag, sizeof(flag));
        return error_set(err,
                         "%s: does not go with --config, whose file says what each service does; "
                         "write %s there",
                         flag, r.service_row->name);
    }
    return config_from_file(c, c->file, err);
}
