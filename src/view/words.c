#include "words.h"

#include <esclusa/str.h>

#include <string.h>

static bool unknown(const char *word, struct error *err)
{
    char shown[100];
    str_escape(shown, sizeof shown, word, strlen(word));
    return error_set(err, "why: \"%s\" is not known: esclusa why [ID] --admin ADDR [--json]",
                     shown);
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
    if (*at + 1 >= argc) {
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

static bool parse_word(struct view_words *w, int argc, char *const argv[], int *at,
                       struct error *err)
{
    const char *word = argv[*at];
    const char *value = value_of("--admin", argc, argv, at, err);
    if (err->set)
        return false;
    if (value != NULL)
        return view_address_parse(&w->address, value, err);
    if (strcmp(word, "--json") == 0)
        return w->json = true;
    if (w->id == 0 && word[0] != '-')
        return parse_id(w, word, err);
    return unknown(word, err);
}

bool view_words_parse(struct view_words *w, int argc, char *const argv[], struct error *err)
{
    memset(w, 0, sizeof *w);
    if (argc < 2 || strcmp(argv[1], "why") != 0)
        return error_set(err, "say what to show: esclusa why [ID] --admin ADDR [--json]");
    for (int at = 2; at < argc; at++) {
        if (!parse_word(w, argc, argv, &at, err))
            return false;
    }
    if (w->address.text[0] == '\0')
        return error_set(err, "--admin is missing: the address of the gateway's admin endpoint");
    return true;
}
