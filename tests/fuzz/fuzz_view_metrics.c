/* libFuzzer target: /metrics as `esclusa top` reads it. Whatever the text: no crash; it comes to
 * its end; names and labels lie within it, and what is shown of them drives no terminal; no rate
 * and no quantile is negative but for "nothing to say". */
#include "view/metrics_text.h"
#include "view/top_model.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_sample(const struct metric_sample *s, const char *text, size_t size)
{
    static const char *const labels[] = {"service", "le", "side", ""};
    require(s->name >= text && s->name_length > 0 && s->name + s->name_length <= text + size);
    require(s->labels >= text && s->labels + s->labels_length <= text + size);
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        char shown[24];
        const bool there = metrics_label(s, labels[i], shown, sizeof shown);
        require(memchr(shown, '\0', sizeof shown) != NULL && (there || shown[0] == '\0'));
        for (const char *p = shown; *p != '\0'; p++)
            require(*p >= 0x20 && *p < 0x7f);
    }
}

static bool is_said(double value)
{
    return value >= 0 || (value >= TOP_NONE && value <= TOP_NONE);
}

/* Twice, as the second time is beside the first. */
static void check_model(const char *text)
{
    struct top_model m = {.known = false};
    struct error err;
    for (unsigned i = 0; i < 2; i++) {
        error_init(&err);
        /* No time of a start here, so only a text that has none fits. */
        const char *status = i == 0 ? "{\"uptime_seconds\":1,\"services\":[{\"name\":\"a\"}]}"
                                    : "{\"uptime_seconds\":2,\"services\":[{\"name\":\"a\"}]}";
        if (!top_model_take(&m, status, text, &err)) {
            require(err.set);
            continue;
        }
        const struct top_row *row = &m.rows[0];
        require(is_said(row->failure_rate) && is_said(row->handshake_rate) &&
                is_said(row->failures));
        for (size_t side = 0; side < TOP_SIDES; side++)
            require(is_said(row->p50[side].value) && is_said(row->p99[side].value) &&
                    row->p50[side].value <= row->p99[side].value);
    }
    top_model_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* of that very size: a read past the end is seen */
    struct metric_sample s;
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    const char *at = text, *before = NULL;
    while (metrics_next(&at, &s)) {
        require(at > text && at != before && at <= text + size);
        before = at;
        check_sample(&s, text, size);
    }
    require(*at == '\0');
    check_model(text);
    free(text);
    return 0;
}
