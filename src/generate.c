/* A tool of the build: fills a template with what the table of options says.
 *
 *   esclusa-generate TEMPLATE OUT [NAME=TEXT...]
 *
 * @NAME@ becomes the part of that name below, or the text given; parts of several lines stand alone
 * on theirs. A name that is not known is an error: it is one that was mistyped. */
#include <esclusa/manual.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 4096

struct part {
    const char *name;
    void (*print)(FILE *out);
    bool lines; /* of several lines, which end with a line break */
};

static void print_version(FILE *out)
{
    fputs(ESCLUSA_VERSION, out);
}

static const struct part parts[] = {
    {"VERSION", print_version, false},
    {"OPTIONS", manual_print_options, true},
    {"SETTINGS", manual_print_settings, true},
    {"COMPLETION_CASES", completion_print_cases, true},
    {"COMPLETION_OPTIONS", completion_print_options, false},
    {"COMPLETION_REPEATABLE", completion_print_repeatable, false},
};

/* "NAME=TEXT" of the command line. */
struct given {
    char *const *words;
    int count;
};

/* Of the name in "@NAME@" at text; 0: there is none. */
static size_t name_length(const char *text)
{
    const size_t length = text[0] == '@' ? strspn(text + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") : 0;
    return text[0] == '@' && text[1 + length] == '@' ? length : 0;
}

/* False: there is no such name. *lines_r: the part ended its last line itself. */
static bool print_part(const char *name, size_t length, const struct given *given, FILE *out,
                       bool *lines_r)
{
    *lines_r = false;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strlen(parts[i].name) == length && strncmp(parts[i].name, name, length) == 0) {
            parts[i].print(out);
            *lines_r = parts[i].lines;
            return true;
        }
    }
    for (int i = 0; i < given->count; i++) {
        const char *word = given->words[i];
        if (strncmp(word, name, length) == 0 && word[length] == '=') {
            fputs(word + length + 1, out);
            return true;
        }
    }
    fprintf(stderr, "esclusa-generate: @%.*s@: unknown\n", (int)length, name);
    return false;
}

static bool fill_line(const char *line, const struct given *given, FILE *out)
{
    while (*line != '\0') {
        const size_t length = name_length(line);
        if (length == 0) {
            fputc(*line++, out);
            continue;
        }
        bool lines = false;
        if (!print_part(line + 1, length, given, out, &lines)) {
            return false;
        }
        line += length + 2;
        if (lines && *line == '\n') {
            line++;
        }
    }
    return true;
}

static bool fill(FILE *from, const struct given *given, FILE *out)
{
    char line[LINE_SIZE];
    while (fgets(line, sizeof(line), from) != NULL) {
        if (!fill_line(line, given, out)) {
            return false;
        }
    }
    return ferror(from) == 0;
}

int main(int argc, char *argv[])
{
    if (argc < 3) {
        fputs("usage: esclusa-generate TEMPLATE OUT [NAME=TEXT...]\n", stderr);
        return 2;
    }
    const struct given given = {.words = argv + 3, .count = argc - 3};
    FILE *from = fopen(argv[1], "r");
    FILE *out = from == NULL ? NULL : fopen(argv[2], "w");
    bool good = out != NULL && fill(from, &given, out);
    if (from != NULL) {
        (void)fclose(from);
    }
    if (out != NULL) {
        const bool written = ferror(out) == 0;
        good = fclose(out) == 0 && written && good;
        if (!good) {
            (void)remove(argv[2]); /* half a file would count as made */
        }
    }
    if (!good) {
        fprintf(stderr, "esclusa-generate: could not make %s of %s\n", argv[2], argv[1]);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
