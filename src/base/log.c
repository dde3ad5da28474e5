#include "log_internal.h"

#include <esclusa/clock.h>
#include <esclusa/json.h>
#include <esclusa/str.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Kept free for the end of the line, so that a full one can still be closed properly. */
#define TAIL_MAX sizeof(",\"truncated\":true}\n")
#define BODY_MAX (LOG_LINE_MAX - TAIL_MAX)

/* Set before threads start. */
static struct {
    enum log_level level;
    enum log_format format;
} wanted = {LOG_LEVEL_INFO, LOG_FORMAT_TEXT};

static const char *const level_words[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

void log_setup(enum log_level level, enum log_format format, int fd)
{
    wanted.level = level;
    wanted.format = format;
    log_sink_set(fd);
    log_queue_begin();
}

bool log_wants(enum log_level level)
{
    return level <= wanted.level;
}

static bool put(struct log_line *line, const char *bytes, size_t length)
{
    if (length > BODY_MAX - line->length)
        return false;
    memcpy(line->text + line->length, bytes, length);
    line->length += length;
    return true;
}

static bool put_string(struct log_line *line, const char *text)
{
    return put(line, text, strlen(text));
}

static bool is_bare(const char *value)
{
    static const char bare[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                               "0123456789_.:/@,+-";
    return value[0] != '\0' && value[strspn(value, bare)] == '\0';
}

static bool put_text_value(struct log_line *line, const char *value)
{
    if (is_bare(value))
        return put_string(line, value);
    if (!put_string(line, "\""))
        return false;
    for (const char *p = value; *p != '\0'; p++) {
        char escaped[8];
        str_escape(escaped, sizeof(escaped), p, 1);
        if (!put_string(line, escaped))
            return false;
    }
    return put_string(line, "\"");
}

static bool put_json_value(struct log_line *line, const char *value)
{
    if (!put_string(line, "\""))
        return false;
    for (const char *p = value; *p != '\0'; p++) {
        char escaped[JSON_ESCAPE_MAX];
        json_escape(escaped, *p);
        if (!put_string(line, escaped))
            return false;
    }
    return put_string(line, "\"");
}

static bool put_key(struct log_line *line, const char *key)
{
    if (line->format == LOG_FORMAT_TEXT)
        return put_string(line, " ") && put_string(line, key) && put_string(line, "=");
    return put_string(line, ",\"") && put_string(line, key) && put_string(line, "\":");
}

static bool put_quotable(struct log_line *line, const char *value)
{
    return line->format == LOG_FORMAT_TEXT ? put_text_value(line, value)
                                           : put_json_value(line, value);
}

/* One whole field or nothing of it. */
static void add_field(struct log_line *line, const char *key, const char *value,
                      bool (*put_value)(struct log_line *, const char *))
{
    if (!line->wanted || line->truncated)
        return;
    size_t before = line->length;
    if (!put_key(line, key) || !put_value(line, value)) {
        line->length = before;
        line->truncated = true;
    }
}

void log_begin(struct log_line *line, enum log_level level, const char *event)
{
    line->wanted = log_wants(level);
    line->truncated = false;
    line->format = wanted.format;
    line->level = level;
    line->length = 0;
    if (!line->wanted)
        return;

    char wall[CLOCK_WALL_MAX];
    clock_wall(wall, sizeof(wall));
    if (line->format == LOG_FORMAT_TEXT && log_sink_is_syslog()) {
        line->truncated = !put_string(line, event); /* the rest is in its frame */
    } else if (line->format == LOG_FORMAT_TEXT) {
        line->truncated = !(put_string(line, wall) && put_string(line, " ") &&
                            put_string(line, level_words[level]) && put_string(line, " ") &&
                            put_string(line, event));
    } else {
        put_string(line, "{\"time\":\"");
        put_string(line, wall);
        put_string(line, "\"");
        add_field(line, "level", level_words[level], put_json_value);
        add_field(line, "event", event, put_json_value);
    }
}

void log_text(struct log_line *line, const char *key, const char *value)
{
    if (value != NULL)
        add_field(line, key, value, put_quotable);
}

void log_number(struct log_line *line, const char *key, int64_t value)
{
    char digits[32];
    (void)snprintf(digits, sizeof(digits), "%" PRId64, value);
    add_field(line, key, digits, put_string);
}

void log_ms(struct log_line *line, const char *key, int64_t microseconds)
{
    char digits[40];
    /* The magnitude is made unsigned: -INT64_MIN is no int64_t. */
    uint64_t magnitude = microseconds < 0 ? -(uint64_t)microseconds : (uint64_t)microseconds;
    (void)snprintf(digits, sizeof(digits), "%s%" PRIu64 ".%03" PRIu64, microseconds < 0 ? "-" : "",
                   magnitude / 1000, magnitude % 1000);
    add_field(line, key, digits, put_string);
}

void log_flag(struct log_line *line, const char *key, bool value)
{
    add_field(line, key, value ? "true" : "false", put_string);
}

static void seal(struct log_line *line)
{
    bool json = line->format == LOG_FORMAT_JSON;
    const char *tail = json ? "}\n" : "\n";
    if (line->truncated)
        tail = json ? ",\"truncated\":true}\n" : " truncated=true\n";
    size_t length = strlen(tail); /* at most TAIL_MAX, which put() keeps free */
    memcpy(line->text + line->length, tail, length);
    line->length += length;
}

void log_dropped_line(struct log_line *line, uint64_t lines)
{
    log_begin(line, LOG_LEVEL_ERROR, "log_dropped");
    log_number(line, "lines", (int64_t)lines);
    seal(line);
}

void log_end(struct log_line *line)
{
    if (!line->wanted)
        return;
    seal(line);
    log_queue_put(line, line->level);
    line->wanted = false; /* a second log_end writes nothing */
}

void log_message(enum log_level level, const char *event, const char *format, ...)
{
    struct log_line line;
    log_begin(&line, level, event);
    if (!line.wanted)
        return;

    char text[LOG_LINE_MAX / 2];
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (wrote < 0)
        str_copy(text, sizeof(text), format);
    log_text(&line, "message", text);
    if (wrote >= (int)sizeof(text))
        line.truncated = true;
    log_end(&line);
}
