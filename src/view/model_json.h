/* model_json: what the files of the model share. jansson.h is theirs alone, so its type is only
 * named here. Private to model*.c. */
#ifndef ESCLUSA_VIEW_MODEL_JSON_H
#define ESCLUSA_VIEW_MODEL_JSON_H

#include <esclusa/error.h>

#include <stddef.h>
#include <stdint.h>

struct json_t;

/* The root, which is an object; NULL: it is none, and err says so. json_decref() it. */
struct json_t *model_parse(const char *text, struct error *err);

/* Of a key: clean, "" where it is no text; NUMBER_NONE; < 0; false. */
void model_get_text(const struct json_t *from, const char *key, char *dst, size_t size);
/* A service's: the same text as in /metrics. */
void model_get_name(const struct json_t *from, const char *key, char *dst, size_t size);
int64_t model_get_number(const struct json_t *from, const char *key);
double model_get_seconds(const struct json_t *from, const char *key);

#endif
