/* The config file: which settings stand where, and what they mean. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"
#include "parse.h"
#include "source.h"

#include <stdlib.h>
#include <string.h>

#define SERVICE_NAME_MAX 64

struct file_reader {
    struct config *config;
    const struct source *source;
    struct parsed services, defaults;
    bool has_services, has_defaults;
};

/* What may stand in a place. */
enum place { PLACE_TOP, PLACE_DEFAULTS, PLACE_SERVICE };

static struct origin origin_at(const struct file_reader *f, unsigned line)
{
    return source_origin(f->source, line);
}

static bool complain(const struct file_reader *f, unsigned line, const char *name,
                     const char *value, const char *sentence, const char *other, struct error *err)
{
    const struct origin at = origin_at(f, line);
    return config_complain(err, &at, name, value, sentence, other);
}

/* ---- words that are not known there ---- */

static bool fits(enum place place, const struct option_row *row)
{
    switch (place) {
    case PLACE_TOP:
        return row->scope == OPTION_GLOBAL;
    case PLACE_DEFAULTS:
        return row->scope == OPTION_SERVICE && !row->own;
    case PLACE_SERVICE:
        break;
    }
    return row->scope == OPTION_SERVICE;
}

static bool refuse_elsewhere(const struct file_reader *f, enum place place, const struct parsed *p,
                             const struct option_row *row, struct error *err)
{
    if (row->scope == OPTION_GLOBAL) {
        return complain(f, p->line, row->name, NULL,
                        "is for the whole program; write it at the top of the file, outside of "
                        "every { }",
                        NULL, err);
    }
    if (place == PLACE_DEFAULTS) {
        return complain(f, p->line, row->name, NULL,
                        "each service has its own, so it cannot stand in defaults; write it in a "
                        "service",
                        NULL, err);
    }
    return complain(f, p->line, row->name, NULL,
                    row->own ? "belongs to a service; write it in services = ( { ... } )"
                             : "belongs to a service; write it in services = ( { ... } ), or in "
                               "defaults = { ... } for all",
                    NULL, err);
}

static bool refuse_unknown(const struct file_reader *f, enum place place, const struct parsed *p,
                           struct error *err)
{
    static const char *const top_words[] = {"services", "defaults"};
    const struct option_row *row = option_by_name(p->name);
    if (row != NULL) {
        return refuse_elsewhere(f, place, p, row, err);
    }
    struct guess guess;
    guess_begin(&guess, p->name, strlen(p->name));
    for (size_t i = 0; i < option_count; i++) {
        if (fits(place, &option_table[i])) {
            guess_consider(&guess, option_table[i].name);
        }
    }
    if (place == PLACE_SERVICE) {
        guess_consider(&guess, "name");
    }
    for (size_t i = 0; place == PLACE_TOP && i < 2; i++) {
        guess_consider(&guess, top_words[i]);
    }
    char shown[4 * OPTION_FLAG_MAX + 1];
    const size_t length = strlen(p->name);
    str_escape(shown, sizeof(shown), p->name, length < OPTION_FLAG_MAX ? length : OPTION_FLAG_MAX);
    return guess.word[0] != '\0'
               ? complain(f, p->line, shown, NULL, "unknown; did you mean {}?", guess.word, err)
               : complain(f, p->line, shown, NULL,
                          "unknown here; esclusa check --explain lists the settings", NULL, err);
}

/* ---- values ---- */

static const char *kind_word(enum parsed_kind kind)
{
    switch (kind) {
    case PARSED_GROUP:
        return "a group";
    case PARSED_LIST:
        return "a list";
    case PARSED_TEXT:
        return "a string";
    case PARSED_INTEGER:
        return "a number";
    case PARSED_REAL:
        return "a number with a point";
    case PARSED_TRUTH:
        return "true or false";
    }
    return "something else";
}

/* "a number; give DUR in quotes, like idle_timeout = "10s"". */
static bool refuse_kind(const struct file_reader *f, const struct parsed *p,
                        const struct option_row *row, unsigned line, struct error *err)
{
    char wanted[512];
    char range[128];
    size_t length = 0;
    option_range(row, range, sizeof(range));
    (void)str_append(wanted, sizeof(wanted), &length, "%s; give ", kind_word(p->kind));
    switch (row->type) {
    case OPTION_TEXT:
        (void)str_append(wanted, sizeof(wanted), &length, "a string: %s = \"%s\"", row->name,
                         row->argument);
        break;
    case OPTION_TEXT_LIST:
        (void)str_append(wanted, sizeof(wanted), &length,
                         "a string or a list of strings: %s = \"%s\" or %s = [\"%s\", \"%s\"]",
                         row->name, row->argument, row->name, row->argument, row->argument);
        break;
    case OPTION_NUMBER:
        (void)str_append(wanted, sizeof(wanted), &length, "a whole number without quotes, %s",
                         range);
        break;
    case OPTION_DURATION:
        (void)str_append(wanted, sizeof(wanted), &length,
                         "a duration as a string, %s, like %s = \"10s\"", range, row->name);
        break;
    case OPTION_FLAG:
        (void)str_append(wanted, sizeof(wanted), &length, "true or false without quotes");
        break;
    case OPTION_CHOICE:
        (void)str_append(wanted, sizeof(wanted), &length, "one of these in quotes: %s", range);
        break;
    }
    return complain(f, line, row->name, NULL, "found {}", wanted, err);
}

static bool store_text(const struct file_reader *f, void *base, const struct option_row *row,
                       const char *text, unsigned line, struct error *err)
{
    struct error reason;
    error_init(&reason);
    if (option_store(row, base, text, &reason)) {
        return true;
    }
    const struct origin at = origin_at(f, line);
    return config_blame(err, &at, row->name, &reason);
}

static bool store_list(const struct file_reader *f, void *base, const struct option_row *row,
                       const struct parsed *p, struct error *err)
{
    if (p->count == 0) {
        return complain(f, p->line, row->name, NULL, "an empty list; give {} or leave it out",
                        row->argument, err);
    }
    for (size_t i = 0; i < p->count; i++) {
        struct parsed item;
        parse_child(p, i, &item);
        /* libconfig may say the next one's line for an item: the list's own is sure. */
        if (item.kind != PARSED_TEXT) {
            return refuse_kind(f, &item, row, p->line, err);
        }
        if (!store_text(f, base, row, item.text, p->line, err)) {
            return false;
        }
    }
    return true;
}

static bool store_value(const struct file_reader *f, void *base, const struct option_row *row,
                        const struct parsed *p, struct error *err)
{
    if (row->type == OPTION_NUMBER && p->kind == PARSED_INTEGER) {
        char digits[32];
        size_t length = 0;
        (void)str_append(digits, sizeof(digits), &length, "%lld", (long long)p->number);
        return store_text(f, base, row, digits, p->line, err);
    }
    if (row->type == OPTION_FLAG && p->kind == PARSED_TRUTH) {
        return store_text(f, base, row, p->number != 0 ? "true" : "false", p->line, err);
    }
    if (row->type != OPTION_NUMBER && row->type != OPTION_FLAG && p->kind == PARSED_TEXT) {
        return store_text(f, base, row, p->text, p->line, err);
    }
    if (row->type == OPTION_TEXT_LIST && p->kind == PARSED_LIST) {
        return store_list(f, base, row, p, err);
    }
    return refuse_kind(f, p, row, p->line, err);
}

/* ---- settings of a service ---- */

static bool apply(const struct file_reader *f, struct service_config *s, const struct parsed *p,
                  bool shared, struct error *err)
{
    const enum place place = shared ? PLACE_DEFAULTS : PLACE_SERVICE;
    const struct option_row *row = option_by_name(p->name);
    if (!shared && strcmp(p->name, "name") == 0) {
        return true; /* read before all others */
    }
    if (row == NULL || !fits(place, row)) {
        return refuse_unknown(f, place, p, err);
    }
    if (row->type == OPTION_TEXT_LIST) {
        text_list_clear((struct text_list *)(void *)((char *)s + row->offset));
    }
    if (!store_value(f, s, row, p, err)) {
        return false;
    }
    struct origin *origin = &s->origins[row - option_table];
    *origin = origin_at(f, p->line);
    origin->shared = shared;
    return true;
}

static bool apply_all(const struct file_reader *f, struct service_config *s,
                      const struct parsed *group, bool shared, struct error *err)
{
    for (size_t i = 0; i < group->count; i++) {
        struct parsed p;
        parse_child(group, i, &p);
        if (!apply(f, s, &p, shared, err)) {
            return false;
        }
    }
    return true;
}

/* The name goes into log lines and metrics: plain words only. */
static bool read_name(const struct file_reader *f, const struct parsed *group, char *name,
                      size_t size, unsigned *line_r, struct error *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    for (size_t i = 0; i < group->count; i++) {
        struct parsed p;
        parse_child(group, i, &p);
        if (strcmp(p.name, "name") != 0) {
            continue;
        }
        *line_r = p.line;
        if (p.kind != PARSED_TEXT) {
            return complain(f, p.line, "name", NULL, "found {}; give a string: name = \"redis\"",
                            kind_word(p.kind), err);
        }
        if (p.text[0] == '\0' || p.text[strspn(p.text, plain)] != '\0' ||
            !str_copy(name, size, p.text)) {
            return complain(f, p.line, "name", p.text,
                            "not a name; give 1 to 64 letters, digits, '-', '_' and '.'", NULL,
                            err);
        }
        return true;
    }
    return complain(f, group->line, "name", NULL,
                    "missing; say what the log shall call this service, like {name=redis}", NULL,
                    err);
}

static bool read_service(const struct file_reader *f, struct service_config *s,
                         const struct parsed *group, struct error *err)
{
    char name[SERVICE_NAME_MAX + 1];
    unsigned line = group->line;
    if (group->kind != PARSED_GROUP) {
        return complain(f, f->services.line, "services", NULL,
                        "found {} in the list; give services = ( { name = \"...\"; ... }, ... )",
                        kind_word(group->kind), err);
    }
    if (!read_name(f, group, name, sizeof(name), &line, err) ||
        !service_config_set_up(s, name, err)) {
        return false;
    }
    s->at = origin_at(f, line);
    return (!f->has_defaults || apply_all(f, s, &f->defaults, true, err)) &&
           apply_all(f, s, group, false, err);
}

/* ---- the whole ---- */

static bool read_services(const struct file_reader *f, struct error *err)
{
    struct config *c = f->config;
    if (!f->has_services || f->services.kind != PARSED_LIST || f->services.count == 0) {
        return complain(f, f->has_services ? f->services.line : 1, "services", NULL,
                        "{}; give services = ( { name = \"...\"; listen = \"...\"; connect = "
                        "\"...\"; } )",
                        !f->has_services                  ? "missing"
                        : f->services.kind != PARSED_LIST ? "not a list"
                                                          : "an empty list",
                        err);
    }
    struct service_config *services = calloc(f->services.count, sizeof(*services));
    if (services == NULL) {
        return error_set(err, "no memory");
    }
    /* The one of the command line makes room. */
    for (size_t i = 0; i < c->service_count; i++) {
        service_config_fini(&c->services[i]);
    }
    free(c->services);
    c->services = services;
    c->service_count = 0;
    for (size_t i = 0; i < f->services.count; i++) {
        struct parsed group;
        parse_child(&f->services, i, &group);
        c->service_count++;
        if (!read_service(f, &c->services[i], &group, err)) {
            return false;
        }
    }
    return true;
}

static bool read_global(const struct file_reader *f, const struct option_row *row,
                        const struct parsed *p, struct error *err)
{
    struct origin *origin = &f->config->origins[row - option_table];
    if (origin->kind != ORIGIN_COMMAND_LINE) {
        *origin = origin_at(f, p->line);
        return store_value(f, f->config, row, p, err);
    }
    /* The command line goes first, but what stands here must be right all the same. */
    struct config unused = {0};
    const bool done = store_value(f, &unused, row, p, err);
    config_fini(&unused);
    return done;
}

static bool read_defaults(struct file_reader *f, const struct parsed *p, struct error *err)
{
    if (p->kind != PARSED_GROUP) {
        return complain(f, p->line, "defaults", NULL, "found {}; give a group: defaults = { ... }",
                        kind_word(p->kind), err);
    }
    f->defaults = *p;
    f->has_defaults = true;
    for (size_t i = 0; i < p->count; i++) {
        struct parsed setting;
        parse_child(p, i, &setting);
        const struct option_row *row = option_by_name(setting.name);
        if (row != NULL) {
            f->config->defaults[row - option_table] = origin_at(f, setting.line);
        }
    }
    return true;
}

static bool read_top(struct file_reader *f, const struct parsed *root, struct error *err)
{
    for (size_t i = 0; i < root->count; i++) {
        struct parsed p;
        parse_child(root, i, &p);
        const struct option_row *row = option_by_name(p.name);
        bool done = true;
        if (strcmp(p.name, "services") == 0) {
            f->services = p;
            f->has_services = true;
        } else if (strcmp(p.name, "defaults") == 0) {
            done = read_defaults(f, &p, err);
        } else if (row != NULL && fits(PLACE_TOP, row)) {
            done = read_global(f, row, &p, err);
        } else {
            done = refuse_unknown(f, PLACE_TOP, &p, err);
        }
        if (!done) {
            return false;
        }
    }
    return read_services(f, err) && config_check(f->config, err);
}

/* What libconfig says of a text that it does not take, with what would do. */
static const struct remedy {
    const char *reason, *sentence;
} remedies[] = {
    {"syntax error",
     "syntax error; look at this line and at the end of the one before: name = value; strings in "
     "quotes, lists of services in ( ), groups in { }"},
    {"duplicate setting name", "a setting for the second time in one group; give each once"},
    {"mismatched element type in array",
     "different types in one [ ]; give strings only, like [\"a:1\", \"b:2\"]"},
};

static bool refuse_text(const struct source *source, unsigned line, const char *reason,
                        struct error *err)
{
    const struct origin at = source_origin(source, line);
    for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++) {
        if (strcmp(reason, remedies[i].reason) == 0) {
            return config_complain(err, &at, NULL, NULL, "{}", remedies[i].sentence);
        }
    }
    return config_complain(err, &at, NULL, NULL, "{}", reason);
}

static bool read_source(struct config *c, const struct source *source, struct error *err)
{
    unsigned line = 0;
    char reason[128];
    struct parse_tree *tree = parse_tree_create(source->text, &line, reason, sizeof(reason));
    if (tree == NULL) {
        return refuse_text(source, line, reason, err);
    }
    struct file_reader f = {.config = c, .source = source};
    struct parsed root;
    parse_root(tree, &root);
    const bool done = read_top(&f, &root, err);
    parse_tree_destroy(&tree);
    return done;
}

bool config_from_text(struct config *c, const char *name, const char *text, size_t length,
                      struct error *err)
{
    struct source source;
    const bool done = source_from_text(&source, &c->files, name, text, length, err) &&
                      read_source(c, &source, err);
    source_fini(&source);
    return done;
}

bool config_from_file(struct config *c, const char *path, struct error *err)
{
    struct source source;
    const bool done =
        source_from_file(&source, &c->files, path, err) && read_source(c, &source, err);
    source_fini(&source);
    return done;
}
