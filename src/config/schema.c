/* Rows of the option table: found by name, values stored and shown. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define RANGE_MAX 128

void option_flag(const struct option_row *row, char *dst, size_t size)
{
    size_t length = 0;
    (void)str_append(dst, size, &length, "--%s", row->name);
    for (char *p = dst; *p != '\0'; p++) {
        if (*p == '_') {
            *p = '-';
        }
    }
}

const struct option_row *option_by_name(const char *name)
{
    for (size_t i = 0; i < option_count; i++) {
        if (strcmp(option_table[i].name, name) == 0) {
            return &option_table[i];
        }
    }
    return NULL;
}

const struct option_row *option_by_flag(const char *flag)
{
    for (size_t i = 0; i < option_count; i++) {
        char written[OPTION_FLAG_MAX];
        option_flag(&option_table[i], written, sizeof(written));
        const char letter[] = {'-', option_table[i].letter, '\0'};
        if (option_table[i].file_only) {
            continue;
        }
        if (strcmp(written, flag) == 0 || (letter[1] != '\0' && strcmp(letter, flag) == 0)) {
            return &option_table[i];
        }
    }
    return NULL;
}

/* The text of a key or certificate, where its file should have been named. */
static bool has_pem(const char *value)
{
    return strstr(value, "-----BEGIN") != NULL;
}

void config_quote(char *dst, size_t size, const char *value)
{
    if (has_pem(value)) { /* it may be a private key */
        (void)str_copy(dst, size, "'...'");
        return;
    }
    const size_t whole = strlen(value);
    const size_t shown = whole < QUOTE_SHOWN ? whole : QUOTE_SHOWN;
    char escaped[4 * QUOTE_SHOWN + 1];
    str_escape(escaped, sizeof(escaped), value, shown);
    size_t length = 0;
    (void)str_append(dst, size, &length, "'%s%s'", escaped, shown < whole ? "..." : "");
}

/* ---- values ---- */

static int64_t *number_at(const struct option_row *row, void *base)
{
    return (int64_t *)(void *)((char *)base + row->offset);
}

static char **text_at(const struct option_row *row, void *base)
{
    return (char **)(void *)((char *)base + row->offset);
}

static struct text_list *list_at(const struct option_row *row, void *base)
{
    return (struct text_list *)(void *)((char *)base + row->offset);
}

static bool store_text(char **slot, const char *value, struct error *err)
{
    char *copy = str_dup(value);
    if (copy == NULL) {
        return error_set(err, "no memory");
    }
    free(*slot);
    *slot = copy;
    return true;
}

void text_list_clear(struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i]);
    }
    free(list->items);
    memset(list, 0, sizeof(*list));
}

bool text_list_add(struct text_list *list, const char *value, struct error *err)
{
    char *copy = str_dup(value);
    char **items =
        copy == NULL ? NULL : realloc(list->items, (list->count + 1) * sizeof(*list->items));
    if (items == NULL) {
        free(copy);
        return error_set(err, "no memory");
    }
    list->items = items;
    list->items[list->count++] = copy;
    return true;
}

void option_range(const struct option_row *row, char *dst, size_t size)
{
    size_t length = 0;
    dst[0] = '\0';
    switch (row->type) {
    case OPTION_TEXT:
    case OPTION_TEXT_LIST:
        return;
    case OPTION_FLAG:
        (void)str_append(dst, size, &length, "true or false");
        return;
    case OPTION_NUMBER:
        (void)str_append(dst, size, &length, "%lld to %lld", (long long)row->min,
                         (long long)row->max);
        return;
    case OPTION_DURATION: {
        char least[32];
        char most[32];
        str_format_duration(least, sizeof(least), row->min);
        str_format_duration(most, sizeof(most), row->max);
        (void)str_append(dst, size, &length, "%s to %s", least, most);
        return;
    }
    case OPTION_CHOICE:
        for (const struct option_choice *c = row->choices; c->word != NULL; c++) {
            const char *between = c == row->choices ? "" : c[1].word == NULL ? " or " : ", ";
            (void)str_append(dst, size, &length, "%s%s", between, c->word);
        }
        return;
    }
}

static bool store_number(const struct option_row *row, int64_t *slot, const char *value,
                         struct error *err)
{
    uint64_t number = 0;
    if (str_parse_u64(value, (uint64_t)row->min, (uint64_t)row->max, &number)) {
        *slot = (int64_t)number;
        return true;
    }
    char quoted[QUOTE_MAX];
    char range[RANGE_MAX];
    config_quote(quoted, sizeof(quoted), value);
    option_range(row, range, sizeof(range));
    const bool digits_only = value[strspn(value, "0123456789")] == '\0';
    return error_set(err, "%s: %s; give %s", quoted,
                     digits_only ? "out of range" : "not a whole number", range);
}

static bool store_duration(const struct option_row *row, int64_t *slot, const char *value,
                           struct error *err)
{
    char quoted[QUOTE_MAX];
    config_quote(quoted, sizeof(quoted), value);
    int64_t ms = 0;
    if (!str_parse_duration(value, &ms)) {
        return error_set(err,
                         "%s: not a duration; give a number with a unit, like 500ms, 5s, 10m or 1h",
                         quoted);
    }
    if (ms < row->min || ms > row->max) {
        char range[RANGE_MAX];
        option_range(row, range, sizeof(range));
        return error_set(err, "%s: out of range; give %s", quoted, range);
    }
    *slot = ms;
    return true;
}

static bool store_choice(const struct option_row *row, int64_t *slot, const char *value,
                         struct error *err)
{
    for (const struct option_choice *c = row->choices; c->word != NULL; c++) {
        if (strcmp(c->word, value) == 0) {
            *slot = c->value;
            return true;
        }
    }
    char words[RANGE_MAX];
    option_range(row, words, sizeof(words));
    char quoted[QUOTE_MAX];
    config_quote(quoted, sizeof(quoted), value);
    return error_set(err, "%s: unknown; give %s", quoted, words);
}

static bool store_flag(int64_t *slot, const char *value, struct error *err)
{
    const bool on = strcmp(value, "true") == 0;
    if (!on && strcmp(value, "false") != 0) {
        char quoted[QUOTE_MAX];
        config_quote(quoted, sizeof(quoted), value);
        return error_set(err, "%s: neither true nor false; give one of these", quoted);
    }
    *slot = on;
    return true;
}

/* A line of PEM, or DER as base64: 48 letters, digits, '+', '/' and '=' or more and nothing else,
 * with capital and small letters and digits among them. What begins with '/' or '.' is a path. */
static bool is_base64(const char *value)
{
    static const char capital[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char small[] = "abcdefghijklmnopqrstuvwxyz";
    static const char digits[] = "0123456789";
    const size_t length = strlen(value);
    if (length < 48 || value[0] == '/') {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)value[i]) && strchr("+/=", value[i]) == NULL) {
            return false;
        }
    }
    return strpbrk(value, capital) != NULL && strpbrk(value, small) != NULL &&
           strpbrk(value, digits) != NULL;
}

/* So that no later text repeats it: an error, a line of the log, what check prints. */
static bool is_pasted(const char *value)
{
    return strpbrk(value, "\r\n") != NULL || has_pem(value) || is_base64(value);
}

bool option_store(const struct option_row *row, void *base, const char *value, struct error *err)
{
    if (value[0] == '\0') {
        return error_set(err, "'': empty; give %s", row->argument);
    }
    if (row->path && is_pasted(value)) {
        return error_set(
            err,
            "'...': this is not a path but the text of a key or certificate: give the file's name");
    }
    switch (row->type) {
    case OPTION_TEXT:
        return store_text(text_at(row, base), value, err);
    case OPTION_TEXT_LIST:
        return text_list_add(list_at(row, base), value, err);
    case OPTION_NUMBER:
        return store_number(row, number_at(row, base), value, err);
    case OPTION_DURATION:
        return store_duration(row, number_at(row, base), value, err);
    case OPTION_CHOICE:
        return store_choice(row, number_at(row, base), value, err);
    case OPTION_FLAG:
        return store_flag(number_at(row, base), value, err);
    }
    return error_set(err, "unknown type of option");
}

const struct text_list *option_list(const struct option_row *row, const void *base)
{
    return row->type != OPTION_TEXT_LIST
               ? NULL
               : (const struct text_list *)(const void *)((const char *)base + row->offset);
}

const char *option_text(const struct option_row *row, const void *base)
{
    char *text = NULL;
    if (row->type == OPTION_TEXT) {
        memcpy(&text, (const char *)base + row->offset, sizeof(text));
    }
    return text;
}

int64_t option_number(const struct option_row *row, const void *base)
{
    int64_t number = 0;
    if (row->type != OPTION_TEXT && row->type != OPTION_TEXT_LIST) {
        memcpy(&number, (const char *)base + row->offset, sizeof(number));
    }
    return number;
}

static bool lists_equal(const struct text_list *a, const struct text_list *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++) {
        equal = strcmp(a->items[i], b->items[i]) == 0;
    }
    return equal;
}

bool option_equal(const struct option_row *row, const void *a, const void *b)
{
    switch (row->type) {
    case OPTION_TEXT:
        return str_equal(option_text(row, a), option_text(row, b));
    case OPTION_TEXT_LIST:
        return lists_equal(option_list(row, a), option_list(row, b));
    case OPTION_NUMBER:
    case OPTION_DURATION:
    case OPTION_CHOICE:
    case OPTION_FLAG:
        break;
    }
    return option_number(row, a) == option_number(row, b);
}

static void format_list(const struct text_list *list, char *dst, size_t size)
{
    size_t length = 0;
    for (size_t i = 0; i < list->count; i++) {
        (void)str_append(dst, size, &length, "%s%s", i == 0 ? "" : ", ", list->items[i]);
    }
}

static void format_choice(const struct option_row *row, int64_t number, char *dst, size_t size)
{
    for (const struct option_choice *c = row->choices; c->word != NULL; c++) {
        if (c->value == number) {
            (void)str_copy(dst, size, c->word);
        }
    }
}

void option_format(const struct option_row *row, const void *base, char *dst, size_t size)
{
    const int64_t number = option_number(row, base);
    size_t length = 0;
    dst[0] = '\0';
    switch (row->type) {
    case OPTION_TEXT: {
        const char *text = option_text(row, base);
        (void)str_copy(dst, size, text == NULL ? "" : text);
        return;
    }
    case OPTION_TEXT_LIST:
        format_list(option_list(row, base), dst, size);
        return;
    case OPTION_FLAG:
        (void)str_copy(dst, size, number != 0 ? "true" : "false");
        return;
    case OPTION_CHOICE:
        format_choice(row, number, dst, size);
        return;
    case OPTION_NUMBER:
    case OPTION_DURATION:
        break;
    }
    if (number < row->min) {
        return; /* "as many as there are CPUs" and the like: none was given */
    }
    if (row->type == OPTION_DURATION) {
        str_format_duration(dst, size, number);
    } else {
        (void)str_append(dst, size, &length, "%lld", (long long)number);
    }
}

void option_show(const struct option_row *row, const void *base, char *dst, size_t size)
{
    static const char dots[] = "...";
    option_format(row, base, dst, size);
    if (dst[0] == '\0') {
        (void)str_copy(dst, size, "none");
    }
    if (strlen(dst) == size - 1 && size > sizeof(dots)) {
        memcpy(dst + size - sizeof(dots), dots, sizeof(dots));
    }
}

/* ---- the struct ---- */

void *config_base_of(struct config *c, const struct option_row *row)
{
    return row->scope == OPTION_GLOBAL ? (void *)c : (void *)&c->services[0];
}

bool service_config_set_up(struct service_config *s, const char *name, struct error *err)
{
    memset(s, 0, sizeof(*s));
    s->name = str_dup(name);
    if (s->name == NULL) {
        return error_set(err, "no memory");
    }
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        if (row->scope == OPTION_SERVICE && row->default_text != NULL &&
            !option_store(row, s, row->default_text, err)) {
            service_config_fini(s);
            return false;
        }
    }
    return true;
}

void service_config_fini(struct service_config *s)
{
    free(s->name);
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        if (row->scope != OPTION_SERVICE) {
            continue;
        }
        if (row->type == OPTION_TEXT) {
            free(*text_at(row, s));
        } else if (row->type == OPTION_TEXT_LIST) {
            text_list_clear(list_at(row, s));
        }
    }
    memset(s, 0, sizeof(*s));
}

bool config_set_up(struct config *c, struct error *err)
{
    memset(c, 0, sizeof(*c));
    c->services = calloc(1, sizeof(*c->services));
    if (c->services == NULL) {
        return error_set(err, "no memory");
    }
    c->service_count = 1;
    bool done = service_config_set_up(&c->services[0], "default", err);
    c->services[0].at.kind = ORIGIN_COMMAND_LINE;
    for (size_t i = 0; done && i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        if (row->scope == OPTION_GLOBAL && row->default_text != NULL) {
            done = option_store(row, c, row->default_text, err);
        }
    }
    if (!done) {
        config_fini(c);
    }
    return done;
}

void config_fini(struct config *c)
{
    for (size_t i = 0; i < c->service_count; i++) {
        service_config_fini(&c->services[i]);
    }
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        if (row->scope == OPTION_GLOBAL && row->type == OPTION_TEXT) {
            free(*text_at(row, c));
        }
    }
    free(c->services);
    free(c->file);
    text_list_clear(&c->files);
    memset(c, 0, sizeof(*c));
}

const struct origin *service_origin(const struct service_config *s, const char *name)
{
    const struct origin *own = &s->origins[option_by_name(name) - option_table];
    return own->kind == ORIGIN_NONE ? &s->at : own;
}
