/* Errors in the user's own words: what the command line calls --tls-min is tls_min, at a line, in
 * the file. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <string.h>

static void append_flag(char *dst, size_t size, size_t *length, const char *name)
{
    const struct option_row *row = option_by_name(name);
    char flag[OPTION_FLAG_MAX];
    flag[0] = '\0';
    if (row != NULL) {
        option_flag(row, flag, sizeof(flag));
    }
    (void)str_append(dst, size, length, "%s", row != NULL ? flag : name);
}

void config_place(char *dst, size_t size, const struct origin *at, const char *name)
{
    size_t length = 0;
    dst[0] = '\0';
    if (at->kind == ORIGIN_FILE) {
        (void)str_append(dst, size, &length, "%s:%u%s%s", at->file, at->line,
                         name == NULL ? "" : ": ", name == NULL ? "" : name);
    } else if (name != NULL) {
        append_flag(dst, size, &length, name);
    }
}

/* What stands between braces: an option, or its assignment. */
static void append_word(char *dst, size_t size, size_t *length, const struct origin *at,
                        const char *word, size_t word_length)
{
    char name[OPTION_FLAG_MAX];
    const char *equals = memchr(word, '=', word_length);
    const size_t name_length = equals == NULL ? word_length : (size_t)(equals - word);
    const size_t fits = name_length < sizeof(name) ? name_length : sizeof(name) - 1;
    memcpy(name, word, fits);
    name[fits] = '\0';
    if (at->kind == ORIGIN_FILE) {
        (void)str_append(dst, size, length, "%s", name);
    } else {
        append_flag(dst, size, length, name);
    }
    if (equals != NULL) {
        const int value_length = (int)(word_length - name_length - 1);
        (void)str_append(dst, size, length, at->kind == ORIGIN_FILE ? " = \"%.*s\"" : " %.*s",
                         value_length, equals + 1);
    }
}

static void append_sentence(char *dst, size_t size, size_t *length, const struct origin *at,
                            const char *sentence, const char *other)
{
    while (*sentence != '\0') {
        const size_t plain = strcspn(sentence, "{");
        (void)str_append(dst, size, length, "%.*s", (int)plain, sentence);
        sentence += plain;
        if (*sentence == '\0') {
            return;
        }
        if (sentence[1] == ' ') { /* a brace of the file's own: services = ( { ... } ) */
            (void)str_append(dst, size, length, "{");
            sentence++;
            continue;
        }
        const size_t word = strcspn(sentence + 1, "}");
        if (word == 0) {
            (void)str_append(dst, size, length, "%s", other == NULL ? "" : other);
        } else {
            append_word(dst, size, length, at, sentence + 1, word);
        }
        sentence += word + 2; /* both braces: the sentences are our own */
    }
}

bool config_complain(struct error *err, const struct origin *at, const char *name,
                     const char *value, const char *sentence, const char *other)
{
    char place[ERROR_TEXT_MAX];
    char quoted[QUOTE_MAX];
    char rest[ERROR_TEXT_MAX];
    size_t length = 0;
    rest[0] = '\0';
    config_place(place, sizeof(place), at, name);
    config_quote(quoted, sizeof(quoted), value == NULL ? "" : value);
    append_sentence(rest, sizeof(rest), &length, at, sentence, other);
    return error_set(err, "%s%s%s: %s", place, value == NULL ? "" : " ",
                     value == NULL ? "" : quoted, rest);
}

bool config_blame(struct error *err, const struct origin *at, const char *name,
                  const struct error *reason)
{
    char place[ERROR_TEXT_MAX];
    config_place(place, sizeof(place), at, name);
    return error_set(err, reason->text[0] == '\'' ? "%s %s" : "%s: %s", place, reason->text);
}

/* ---- "did you mean" ---- */

void guess_begin(struct guess *g, const char *typed, size_t letters)
{
    /* A slip in two letters; in words as short as "-z" anything would be like anything. */
    g->typed = typed;
    g->word[0] = '\0';
    g->distance = letters < 3 ? 0 : letters / 2 < 3 ? letters / 2 + 1 : 4;
}

void guess_consider(struct guess *g, const char *word)
{
    /* The start of an option is a likely abbreviation: as good as one slip. */
    const size_t length = strlen(g->typed);
    const bool abbreviation = length >= 4 && strncmp(word, g->typed, length) == 0;
    const size_t distance = abbreviation ? 1 : str_distance(word, g->typed);
    if (distance < g->distance) {
        g->distance = distance;
        (void)str_copy(g->word, sizeof(g->word), word);
    }
}
