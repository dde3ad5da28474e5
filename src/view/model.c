#include "model.h"

#include "model_json.h"

#include <esclusa/str.h>
#include <esclusa/text.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 128 /* of which so many are shown */

void model_get_text(const json_t *from, const char *key, char *dst, size_t size)
{
    const json_t *value = json_object_get(from, key);
    const char *text = json_string_value(value);
    view_clean(dst, size, text != NULL ? text : "", json_string_length(value));
}

/* Each byte that is not ASCII is U+00NN in JSON, and \xNN in /metrics. */
void model_get_name(const json_t *from, const char *key, char *dst, size_t size)
{
    const char *text = json_string_value(json_object_get(from, key));
    char bytes[NAME_BYTES];
    size_t length = 0;
    for (const char *p = text; p != NULL && *p != '\0' && length < sizeof bytes; p++) {
        const unsigned char c = (unsigned char)*p, next = (unsigned char)p[1];
        if ((c & 0xfe) == 0xc2 && (next & 0xc0) == 0x80) {
            bytes[length++] = (char)((c & 3) << 6 | (next & 0x3f));
            p++;
        } else {
            bytes[length++] = *p;
        }
    }
    view_clean(dst, size, bytes, length);
}

int64_t model_get_number(const json_t *from, const char *key)
{
    const json_t *value = json_object_get(from, key);
    return json_is_integer(value) ? json_integer_value(value) : NUMBER_NONE;
}

double model_get_seconds(const json_t *from, const char *key)
{
    const json_t *value = json_object_get(from, key);
    return json_is_number(value) ? json_number_value(value) : -1;
}

/* The root, which must be an object. What libjansson says quotes the text: only where is told. */
json_t *model_parse(const char *text, struct error *err)
{
    json_error_t why;
    json_t *root = json_loads(text, 0, &why);
    if (root == NULL)
        (void)error_set(err,
                        "the answer is no JSON (line %d, column %d): is it esclusa's admin "
                        "endpoint?",
                        why.line, why.column);
    else if (!json_is_object(root))
        (void)error_set(err, "the answer is no JSON object: is it esclusa's admin endpoint?");
    else
        return root;
    json_decref(root);
    return NULL;
}

#define TEXT(json, from, field) model_get_text(from, #field, (json)->field, sizeof(json)->field)

static void get_chain(struct failure *f, const json_t *chain)
{
    for (size_t i = 0; i < json_array_size(chain) && f->chain_count < CHAIN_MAX; i++) {
        const json_t *subject = json_array_get(chain, i);
        if (json_is_string(subject))
            view_clean(f->chain[f->chain_count++], sizeof f->chain[0], json_string_value(subject),
                       json_string_length(subject));
    }
}

static void get_failure(struct failure *f, const json_t *from)
{
    f->id = model_get_number(from, "id");
    f->alert = model_get_number(from, "alert");
    f->depth = model_get_number(from, "depth");
    f->attempts = model_get_number(from, "attempts");
    f->bytes_up = model_get_number(from, "bytes_up");
    f->bytes_down = model_get_number(from, "bytes_down");
    f->time_seconds = model_get_seconds(from, "time_seconds");
    f->duration_seconds = model_get_seconds(from, "duration_seconds");
    TEXT(f, from, time);
    model_get_name(from, "service", f->service, sizeof f->service);
    TEXT(f, from, listen);
    TEXT(f, from, consumer);
    TEXT(f, from, upstream);
    TEXT(f, from, address);
    TEXT(f, from, phase);
    TEXT(f, from, reason);
    TEXT(f, from, meaning);
    TEXT(f, from, error);
    TEXT(f, from, subject);
    TEXT(f, from, issuer);
    TEXT(f, from, names);
    TEXT(f, from, expected);
    TEXT(f, from, remedy);
    get_chain(f, json_object_get(from, "chain"));
}

bool model_failures(struct failures *f, const char *json, struct error *err)
{
    memset(f, 0, sizeof *f);
    json_t *root = model_parse(json, err);
    const json_t *list = root == NULL ? NULL : json_object_get(root, "failures");
    if (root != NULL && !json_is_array(list))
        (void)error_set(err,
                        "the answer has no list \"failures\": is it esclusa's admin endpoint?");
    const size_t count =
        json_array_size(list) < FAILURES_MAX ? json_array_size(list) : FAILURES_MAX;
    if (json_is_array(list))
        f->items = calloc(count + 1, sizeof *f->items);
    if (f->items == NULL) {
        json_decref(root);
        return error_set(err, "no memory");
    }
    f->total = model_get_number(root, "total");
    f->dropped = model_get_number(root, "dropped");
    for (size_t i = 0; i < count; i++)
        get_failure(&f->items[f->count++], json_array_get(list, i));
    json_decref(root);
    return true;
}

void model_failures_free(struct failures *f)
{
    free(f->items);
    memset(f, 0, sizeof *f);
}

char *model_pretty(const char *json, struct error *err)
{
    json_t *root = model_parse(json, err);
    char *text =
        root == NULL
            ? NULL
            : json_dumps(root, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(16));
    json_decref(root);
    for (char *p = text; p != NULL && *p != '\0'; p++) {
        if (*p == 0x7f) /* the one control character that JSON lets stand */
            *p = '?';
    }
    if (text == NULL)
        (void)error_set(err, "no memory");
    return text;
}
