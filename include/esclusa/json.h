/* json: RFC 8259 texts, written front to back into a text. Pure ASCII whatever goes in: any byte
 * below 0x20 or above 0x7e is the code point of the same number, as what a peer sends need not be
 * UTF-8 and the result must be valid all the same. Any thread; nothing blocks. */
#ifndef ESCLUSA_JSON_H
#define ESCLUSA_JSON_H

#include <esclusa/text.h>

#include <stdint.h>

/* One byte as it stands in a string, terminated. */
#define JSON_ESCAPE_MAX 8
void json_escape(char dst[JSON_ESCAPE_MAX], char byte);

struct json {
    struct text *out;
    bool comma; /* before the next value */
};

/* In an object every value has a key, a word of the program's own; in a list it is NULL. */
void json_open(struct json *j, const char *key, char bracket);      /* '{' or '[' */
void json_close(struct json *j, char bracket);                      /* '}' or ']' */
void json_text(struct json *j, const char *key, const char *value); /* NULL: null */
/* The same, and an empty text is null too. */
void json_given(struct json *j, const char *key, const char *value);
void json_number(struct json *j, const char *key, int64_t value);
/* Microseconds as seconds: 1234567 -> 1.234567. */
void json_seconds(struct json *j, const char *key, int64_t microseconds);
void json_flag(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);

#endif
