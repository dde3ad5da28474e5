/* Reading a config file. @include is done here, not by libconfig: its own looks a name up beside
 * the first file only (and 1.5 an absolute name too), says a line but not always of which file, and
 * ends the process when it is given a directory. What libconfig takes in silence and gets wrong is
 * refused here as well: a number that does not fit is wrapped by 1.5, "\x00" is dropped, and a
 * comment may lack its end. */
#include <esclusa/file.h>
#include <esclusa/str.h>

#include "config_internal.h"
#include "source.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A config of thousands of services has a megabyte; whatever is larger was given by mistake. */
#define TEXT_MAX    ((size_t)4 * 1024 * 1024)
#define FILES_MAX   256
#define DEPTH_MAX   10
#define FIRST_BYTES 4096

/* One file while it is taken over line by line. */
struct scan {
    struct source *source;
    const char *name; /* one of source->files */
    unsigned line;
    unsigned comment; /* the line where an open comment began; 0: none */
    unsigned depth;
};

static bool add_file(struct source *s, const char *name, const char **name_r, struct error *err)
{
    if (!text_list_add(s->files, name, err)) {
        return false;
    }
    *name_r = s->files->items[s->files->count - 1];
    return true;
}

static struct origin here(const struct scan *scan)
{
    return (struct origin){.kind = ORIGIN_FILE, .line = scan->line, .file = scan->name};
}

static bool refuse(const struct scan *scan, unsigned line, const char *sentence, const char *other,
                   struct error *err)
{
    struct origin at = here(scan);
    at.line = line;
    return config_complain(err, &at, NULL, NULL, sentence, other);
}

/* ---- bytes ---- */

static bool grow(char **bytes, size_t *size, size_t wanted)
{
    size_t larger = *size == 0 ? FIRST_BYTES : *size;
    while (larger < wanted) {
        larger *= 2;
    }
    char *moved = larger == *size ? *bytes : realloc(*bytes, larger);
    if (moved == NULL) {
        return false;
    }
    *bytes = moved;
    *size = larger;
    return true;
}

/* *text_r is the caller's to free, also after false. */
static bool read_all(int fd, char **text_r, size_t *length_r, struct error *err)
{
    size_t size = 0;
    for (;;) {
        if (*length_r >= TEXT_MAX) {
            return error_set(err, "larger than 4 MiB: this is no config file");
        }
        if (!grow(text_r, &size, *length_r + FIRST_BYTES)) {
            return error_set(err, "no memory");
        }
        const ssize_t n = read(fd, *text_r + *length_r, size - *length_r);
        if (n == 0) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return error_set(err, "%s", strerrordesc_np(errno));
        }
        *length_r += n < 0 ? 0 : (size_t)n;
    }
}

static bool read_file(const char *path, char **text_r, size_t *length_r, struct error *err)
{
    const char *why = NULL;
    const int fd = file_open_regular(path, &why);
    if (fd < 0) {
        return error_set(err, "%s", why);
    }
    const bool done = read_all(fd, text_r, length_r, err);
    (void)close(fd);
    return done;
}

static bool append_line(const struct scan *scan, const char *line, size_t length, struct error *err)
{
    struct source *s = scan->source;
    if (s->length + length + 2 > TEXT_MAX + FIRST_BYTES) {
        return refuse(scan, scan->line, "more than 4 MiB in all; give less", NULL, err);
    }
    if (!grow(&s->text, &s->size, s->length + length + 2)) {
        return error_set(err, "no memory");
    }
    if (s->line_count == s->line_size) {
        const size_t larger = s->line_size == 0 ? 64 : 2 * s->line_size;
        struct source_line *moved = realloc(s->lines, larger * sizeof(*moved));
        if (moved == NULL) {
            return error_set(err, "no memory");
        }
        s->lines = moved;
        s->line_size = larger;
    }
    memcpy(s->text + s->length, line, length);
    s->length += length;
    s->text[s->length++] = '\n';
    s->text[s->length] = '\0';
    s->lines[s->line_count++] = (struct source_line){scan->name, scan->line};
    return true;
}

/* ---- what a line holds ---- */

/* at: behind the opening quote. Returns what is behind the closing one; NULL: refused. */
static const char *skip_string(const struct scan *scan, const char *at, const char *end,
                               struct error *err)
{
    for (; at < end; at++) {
        if (*at == '"') {
            return at + 1;
        }
        if (*at == '\\' && end - at > 3 && at[1] == 'x' && at[2] == '0' && at[3] == '0') {
            (void)refuse(scan, scan->line, "a NUL (\\x00) in a string; leave it out", NULL, err);
            return NULL;
        }
        if (*at == '\\' && end - at > 1) {
            at++;
        }
    }
    (void)refuse(scan, scan->line,
                 "a string that does not end on its line; close it with \" (strings that follow "
                 "each other are joined)",
                 NULL, err);
    return NULL;
}

/* -1: no digit to that base. */
static int digit_value(char c, int base)
{
    const int value = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : base;
    return value < base ? value : -1;
}

/* Returns what is behind the digits; *large_r: more than libconfig's int holds. */
static const char *skip_digits(const char *at, const char *end, int base, bool *large_r)
{
    int64_t value = 0;
    for (; at < end && digit_value(*at, base) >= 0; at++) {
        if (!*large_r) {
            value = value * base + digit_value(*at, base);
            *large_r = value > INT32_MAX;
        }
    }
    return at;
}

/* at: a digit. 0x1F, 123L and 1.5 are numbers too; only whole ones are looked at. */
static const char *skip_number(const struct scan *scan, const char *at, const char *end,
                               struct error *err)
{
    const bool hex = end - at > 2 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X');
    bool large = false;
    const char *rest = skip_digits(hex ? at + 2 : at, end, hex ? 16 : 10, &large);
    const bool real = !hex && rest < end && (*rest == '.' || *rest == 'e' || *rest == 'E');
    if (large && !real) {
        char number[64];
        size_t length = 0;
        (void)str_append(number, sizeof(number), &length, "%.*s",
                         rest - at < 60 ? (int)(rest - at) : 60, at);
        (void)refuse(scan, scan->line, "{}: a number above 2147483647; no setting takes that",
                     number, err);
        return NULL;
    }
    while (rest < end && (isalnum((unsigned char)*rest) || *rest == '.')) {
        rest++;
    }
    return rest;
}

static const char *skip_comment(struct scan *scan, const char *at, const char *end)
{
    const char *close = memmem(at, (size_t)(end - at), "*/", 2);
    if (close == NULL) {
        return end;
    }
    scan->comment = 0;
    return close + 2;
}

static bool starts(const char *at, const char *end, const char *with)
{
    const size_t length = strlen(with);
    return (size_t)(end - at) >= length && memcmp(at, with, length) == 0;
}

static const char *skip_name(const char *at, const char *end)
{
    while (at < end && (isalnum((unsigned char)*at) || *at == '_' || *at == '-' || *at == '*')) {
        at++;
    }
    return at;
}

/* Keeps track of comments, and refuses what libconfig would get wrong. */
static bool scan_line(struct scan *scan, const char *at, const char *end, struct error *err)
{
    while (at != NULL && at < end) {
        if (scan->comment != 0) {
            at = skip_comment(scan, at, end);
        } else if (*at == '#' || starts(at, end, "//")) {
            return true;
        } else if (starts(at, end, "/*")) {
            scan->comment = scan->line;
            at += 2;
        } else if (*at == '"') {
            at = skip_string(scan, at + 1, end, err);
        } else if (isdigit((unsigned char)*at)) {
            at = skip_number(scan, at, end, err);
        } else if (isalpha((unsigned char)*at)) {
            at = skip_name(at, end);
        } else {
            at++;
        }
    }
    return at != NULL;
}

/* ---- @include ---- */

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r')) {
        at++;
    }
    return at;
}

/* A name is looked up beside the file that has the line. The caller frees; NULL: no memory. */
static char *beside(const char *file, const char *name, size_t name_length)
{
    const char *slash = strrchr(file, '/');
    const int folder = name[0] == '/' || slash == NULL ? 0 : (int)(slash - file + 1);
    char *path = NULL;
    if (asprintf(&path, "%.*s%.*s", folder, file, (int)name_length, name) < 0) {
        return NULL;
    }
    return path;
}

static bool take_text(struct scan *scan, const char *text, size_t length, struct error *err);

static bool include_file(const struct scan *from, const char *path, struct error *err)
{
    struct scan scan = {.source = from->source, .depth = from->depth + 1};
    char quoted[QUOTE_MAX];
    config_quote(quoted, sizeof(quoted), path);
    if (scan.depth > DEPTH_MAX || scan.source->files->count >= FILES_MAX) {
        return refuse(from, from->line,
                      "@include {}: too many, or files that include each other; at most 10 deep "
                      "and 256 in all",
                      quoted, err);
    }
    /* Named before it is read: whoever looks at the files must know of one that cannot be read. */
    if (!add_file(scan.source, path, &scan.name, err)) {
        return false;
    }
    char *text = NULL;
    size_t length = 0;
    struct error reason;
    error_init(&reason);
    bool done = read_file(path, &text, &length, &reason);
    if (!done) {
        size_t at = strlen(quoted);
        char why[QUOTE_MAX + ERROR_TEXT_MAX];
        (void)str_copy(why, sizeof(why), quoted);
        (void)str_append(why, sizeof(why), &at, ": %s", reason.text);
        (void)refuse(from, from->line, "@include {}", why, err);
    }
    done = done && take_text(&scan, text, length, err);
    free(text);
    return done;
}

/* at: behind "@include". */
static bool include_line(const struct scan *scan, const char *at, const char *end,
                         struct error *err)
{
    const char *open_quote = skip_blanks(at, end);
    const char *name = open_quote + 1;
    const char *close_quote =
        open_quote < end && *open_quote == '"' ? memchr(name, '"', (size_t)(end - name)) : NULL;
    const char *rest = close_quote == NULL ? NULL : skip_blanks(close_quote + 1, end);
    if (rest == NULL || close_quote == name ||
        (rest < end && *rest != '#' && !starts(rest, end, "//"))) {
        return refuse(scan, scan->line, "@include: not understood; write @include \"FILE\" alone",
                      NULL, err);
    }
    char *path = beside(scan->name, name, (size_t)(close_quote - name));
    const bool done = path != NULL ? include_file(scan, path, err) : error_set(err, "no memory");
    free(path);
    return done;
}

static bool take_line(struct scan *scan, const char *line, size_t length, struct error *err)
{
    const char *end = line + length;
    const char *word = skip_blanks(line, end);
    scan->line++;
    if (memchr(line, '\0', length) != NULL) {
        return refuse(scan, scan->line, "a NUL byte; give plain text", NULL, err);
    }
    if (scan->comment == 0 && starts(word, end, "@include")) {
        return include_line(scan, word + strlen("@include"), end, err);
    }
    return scan_line(scan, line, end, err) && append_line(scan, line, length, err);
}

static bool take_text(struct scan *scan, const char *text, size_t length, struct error *err)
{
    const char *end = text + length;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline == NULL ? end : newline;
        if (!take_line(scan, text, (size_t)(line_end - text), err)) {
            return false;
        }
        text = newline == NULL ? end : newline + 1;
    }
    if (scan->comment != 0) {
        return refuse(scan, scan->comment, "a comment that does not end; close it with */", NULL,
                      err);
    }
    return true;
}

/* ---- outside ---- */

bool source_from_text(struct source *s, struct text_list *files, const char *name, const char *text,
                      size_t length, struct error *err)
{
    struct scan scan = {.source = s};
    memset(s, 0, sizeof(*s));
    s->files = files;
    if (!grow(&s->text, &s->size, 1)) {
        return error_set(err, "no memory");
    }
    s->text[0] = '\0';
    return add_file(s, name, &scan.name, err) && take_text(&scan, text, length, err);
}

bool source_from_file(struct source *s, struct text_list *files, const char *path,
                      struct error *err)
{
    char *text = NULL;
    size_t length = 0;
    struct error reason;
    memset(s, 0, sizeof(*s));
    error_init(&reason);
    bool done = read_file(path, &text, &length, &reason);
    if (done) {
        done = source_from_text(s, files, path, text, length, err);
    } else {
        char quoted[QUOTE_MAX];
        config_quote(quoted, sizeof(quoted), path);
        (void)error_set(err, "--config %s: %s", quoted, reason.text);
    }
    free(text);
    return done;
}

void source_fini(struct source *s)
{
    free(s->text);
    free(s->lines);
    memset(s, 0, sizeof(*s));
}

struct origin source_origin(const struct source *s, unsigned line)
{
    struct origin at = {.kind = ORIGIN_FILE, .line = 1, .file = s->files->items[0]};
    if (s->line_count > 0) {
        const size_t index = line == 0 ? 0 : line - 1;
        const struct source_line *found =
            &s->lines[index < s->line_count ? index : s->line_count - 1];
        at.file = found->file;
        at.line = found->line;
    }
    return at;
}
