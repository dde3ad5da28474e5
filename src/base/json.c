#include <esclusa/json.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void json_escape(char dst[JSON_ESCAPE_MAX], char byte)
{
    unsigned char c = (unsigned char)byte;
    if (c < 0x20 || c >= 0x7f)
        (void)snprintf(dst, JSON_ESCAPE_MAX, "\\u%04x", (unsigned)c);
    else
        (void)snprintf(dst, JSON_ESCAPE_MAX, c == '"' || c == '\\' ? "\\%c" : "%c", c);
}

static void put_string(struct text *out, const char *text)
{
    text_put(out, "\"", 1);
    for (; *text != '\0'; text++) {
        char escaped[JSON_ESCAPE_MAX];
        json_escape(escaped, *text);
        text_put(out, escaped, strlen(escaped));
    }
    text_put(out, "\"", 1);
}

static void begin(struct json *j, const char *key)
{
    if (j->comma)
        text_put(j->out, ",", 1);
    j->comma = true;
    if (key != NULL)
        text_add(j->out, "\"%s\":", key);
}

void json_open(struct json *j, const char *key, char bracket)
{
    begin(j, key);
    text_put(j->out, &bracket, 1);
    j->comma = false;
}

void json_close(struct json *j, char bracket)
{
    text_put(j->out, &bracket, 1);
    j->comma = true;
}

void json_text(struct json *j, const char *key, const char *value)
{
    begin(j, key);
    if (value == NULL)
        text_add(j->out, "null");
    else
        put_string(j->out, value);
}

void json_given(struct json *j, const char *key, const char *value)
{
    json_text(j, key, value != NULL && value[0] != '\0' ? value : NULL);
}

void json_number(struct json *j, const char *key, int64_t value)
{
    begin(j, key);
    text_add(j->out, "%" PRId64, value);
}

void json_seconds(struct json *j, const char *key, int64_t microseconds)
{
    begin(j, key);
    /* The magnitude is made unsigned: -INT64_MIN is no int64_t. */
    uint64_t magnitude = microseconds < 0 ? -(uint64_t)microseconds : (uint64_t)microseconds;
    text_add(j->out, "%s%" PRIu64 ".%06" PRIu64, microseconds < 0 ? "-" : "", magnitude / 1000000,
             magnitude % 1000000);
}

void json_flag(struct json *j, const char *key, bool value)
{
    begin(j, key);
    text_add(j->out, value ? "true" : "false");
}

void json_null(struct json *j, const char *key)
{
    json_text(j, key, NULL);
}
