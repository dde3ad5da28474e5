/* What `esclusa check` prints, as text or as JSON: the settings in effect, what each listener does,
 * and the certificates with their ends. */
#include <esclusa/config.h>
#include <esclusa/json.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <stdlib.h>
#include <string.h>

#define VALUE_MAX   8192
#define DAY_SECONDS ((int64_t)24 * 60 * 60)
#define WARN_DAYS   30

/* ---- what is told of ---- */

/* A global one (service NULL) by one service at least. */
static bool is_used(const struct snapshot *s, const struct service *service,
                    const struct option_row *row)
{
    if (service != NULL) {
        return option_idle(service->config, row, service->downstream_tls != NULL,
                           service->upstream_tls != NULL) == NULL;
    }
    bool used = false;
    for (size_t i = 0; !used && i < s->service_count; i++) {
        used = option_side_missing(row, s->services[i].downstream_tls != NULL,
                                   s->services[i].upstream_tls != NULL) == NULL;
    }
    return used;
}

/* The struct of its settings; service NULL: of the global ones. */
static const void *base_of(const struct snapshot *s, const struct service *service)
{
    return service == NULL ? (const void *)&s->config : (const void *)service->config;
}

/* The value of a setting as it is in effect; "" for none, and for one that is of no use, be it from
 * `defaults` or the table's default. */
static void effective(const struct snapshot *s, const struct service *service,
                      const struct option_row *row, char *dst, size_t size)
{
    option_format(row, base_of(s, service), dst, size);
    if (!is_used(s, service, row)) {
        dst[0] = '\0';
    }
    if (row->scope == OPTION_GLOBAL && row->offset == offsetof(struct config, workers)) {
        size_t length = 0;
        (void)str_append(dst, size, &length, "%u", s->workers);
    }
}

/* "" when it lasts long enough. */
static void certificate_warning(const struct tls_certificate *c, char *dst, size_t size)
{
    size_t length = 0;
    dst[0] = '\0';
    if (c->seconds_left < 0) {
        (void)str_append(dst, size, &length, "%s: expired at %s: %s", c->subject, c->not_after,
                         c->use == TLS_CERTIFICATE_ANCHOR ? "nothing it issued will be trusted"
                                                          : "renew it");
    } else if (c->seconds_left < WARN_DAYS * DAY_SECONDS) {
        (void)str_append(dst, size, &length, "%s: expires at %s, in less than %d days: renew it",
                         c->subject, c->not_after, (int)(c->seconds_left / DAY_SECONDS) + 1);
    }
}

/* Tells what a service does not do that it is there for. */
static void each_warning(const struct service *service,
                         void (*tell)(void *context, const char *warning), void *context)
{
    static const char *const policies[] = {"names_policy", "pins_policy", "revocation_policy"};
    if (service->upstream_tls == NULL) {
        return;
    }
    if (service->config->insecure_skip_verify) {
        tell(context, "insecure_skip_verify is true: the upstream is not verified at all");
        return;
    }
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        const struct option_row *row = option_by_name(policies[i]);
        char warning[128];
        size_t length = 0;
        if (option_number(row, service->config) == TLS_POLICY_REPORT &&
            option_idle(service->config, row, service->downstream_tls != NULL, true) == NULL) {
            (void)str_append(warning, sizeof(warning), &length,
                             "%s is report: what it finds is logged and let pass", row->name);
            tell(context, warning);
        }
    }
}

static const char *use_word(enum tls_certificate_use use)
{
    switch (use) {
    case TLS_CERTIFICATE_OWN:
        return "own";
    case TLS_CERTIFICATE_ISSUER:
        return "issuer";
    case TLS_CERTIFICATE_ANCHOR:
        break;
    }
    return "anchor";
}

/* "listen_cert" of "--listen-cert". */
static void setting_name(const char *option, char *dst, size_t size)
{
    (void)str_copy(dst, size, option + strspn(option, "-"));
    for (char *p = dst; *p != '\0'; p++) {
        if (*p == '-') {
            *p = '_';
        }
    }
}

/* ---- text ---- */

/* A path may hold anything but NUL: the line stays one line. */
static void print_escaped(FILE *out, const char *text)
{
    const size_t length = strlen(text);
    const size_t size = 4 * length + 1;
    char *escaped = malloc(size);
    if (escaped == NULL) {
        return;
    }
    str_escape(escaped, size, text, length);
    fputs(escaped, out);
    free(escaped);
}

static void text_list_value(FILE *out, const struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        fputs(i == 0 ? "" : ", ", out);
        print_escaped(out, list->items[i]);
    }
}

static void text_warning(void *context, const char *warning)
{
    fprintf(context, "warning: %s\n", warning);
}

static void text_settings(const struct snapshot *s, const struct service *service, FILE *out)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        char value[VALUE_MAX];
        if ((row->scope == OPTION_SERVICE) != (service != NULL)) {
            continue;
        }
        effective(s, service, row, value, sizeof(value));
        if (value[0] == '\0') {
            continue;
        }
        fprintf(out, "%s = ", row->name);
        if (row->type == OPTION_TEXT_LIST) {
            text_list_value(out, option_list(row, base_of(s, service))); /* however long */
        } else {
            print_escaped(out, value);
        }
        fputc('\n', out);
    }
}

static void text_certificate(void *context, const struct tls_certificate *c)
{
    FILE *out = context;
    char name[OPTION_FLAG_MAX];
    char warning[512];
    setting_name(c->option, name, sizeof(name));
    certificate_warning(c, warning, sizeof(warning));
    fprintf(out, "certificate (%s, %s): %s, notAfter %s\n", name, use_word(c->use), c->subject,
            c->not_after);
    if (warning[0] != '\0') {
        fprintf(out, "warning: %s\n", warning);
    }
}

static void text_service(const struct snapshot *s, const struct service *service, FILE *out)
{
    fprintf(out, "\n[service %s]\n", service->config->name);
    text_settings(s, service, out);
    for (size_t n = 0; n < service->listener_count; n++) {
        char sentence[SERVICE_TEXT_MAX];
        service_describe(service, &service->listeners[n], sentence, sizeof(sentence));
        print_escaped(out, sentence);
        fputc('\n', out);
    }
    each_warning(service, text_warning, out);
    if (service->downstream_tls != NULL) {
        tls_profile_certificates(service->downstream_tls, text_certificate, out);
    }
    if (service->upstream_tls != NULL) {
        tls_profile_certificates(service->upstream_tls, text_certificate, out);
    }
}

/* ---- JSON: RFC 8259 ---- */

static void json_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        char escaped[JSON_ESCAPE_MAX];
        json_escape(escaped, *text);
        fputs(escaped, out);
    }
    fputc('"', out);
}

static void json_list(FILE *out, const struct text_list *list)
{
    fputc('[', out);
    for (size_t i = 0; i < list->count; i++) {
        fputs(i == 0 ? "" : ",", out);
        json_string(out, list->items[i]);
    }
    fputc(']', out);
}

static void json_settings(const struct snapshot *s, const struct service *service, FILE *out)
{
    const char *between = "";
    fputc('{', out);
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        char value[VALUE_MAX];
        if ((row->scope == OPTION_SERVICE) != (service != NULL)) {
            continue;
        }
        effective(s, service, row, value, sizeof(value));
        if (value[0] == '\0') {
            continue;
        }
        fprintf(out, "%s\"%s\":", between, row->name);
        between = ",";
        if (row->type == OPTION_TEXT_LIST) {
            json_list(out, option_list(row, base_of(s, service)));
        } else if (row->type == OPTION_NUMBER || row->type == OPTION_FLAG) {
            fputs(value, out);
        } else {
            json_string(out, value);
        }
    }
    fputc('}', out);
}

/* Elements of an array, told one by one. */
struct json_elements {
    FILE *out;
    const char *between;
};

static void json_warning(void *context, const char *warning)
{
    struct json_elements *j = context;
    fputs(j->between, j->out);
    json_string(j->out, warning);
    j->between = ",";
}

static void json_certificate(void *context, const struct tls_certificate *c)
{
    struct json_elements *j = context;
    char name[OPTION_FLAG_MAX];
    char warning[512];
    setting_name(c->option, name, sizeof(name));
    certificate_warning(c, warning, sizeof(warning));
    fprintf(j->out, "%s{\"setting\":\"%s\",\"use\":\"%s\",\"subject\":", j->between, name,
            use_word(c->use));
    json_string(j->out, c->subject);
    fputs(",\"not_after\":", j->out);
    json_string(j->out, c->not_after);
    fprintf(j->out, ",\"seconds_left\":%lld", (long long)c->seconds_left);
    if (warning[0] != '\0') {
        fputs(",\"warning\":", j->out);
        json_string(j->out, warning);
    }
    fputc('}', j->out);
    j->between = ",";
}

static void json_service(const struct snapshot *s, const struct service *service, FILE *out)
{
    struct json_elements warnings = {out, ""};
    struct json_elements certificates = {out, ""};
    fputs("{\"name\":", out);
    json_string(out, service->config->name);
    fputs(",\"settings\":", out);
    json_settings(s, service, out);
    fputs(",\"listeners\":[", out);
    for (size_t n = 0; n < service->listener_count; n++) {
        char sentence[SERVICE_TEXT_MAX];
        service_describe(service, &service->listeners[n], sentence, sizeof(sentence));
        fputs(n == 0 ? "" : ",", out);
        json_string(out, sentence);
    }
    fputs("],\"warnings\":[", out);
    each_warning(service, json_warning, &warnings);
    fputs("],\"certificates\":[", out);
    if (service->downstream_tls != NULL) {
        tls_profile_certificates(service->downstream_tls, json_certificate, &certificates);
    }
    if (service->upstream_tls != NULL) {
        tls_profile_certificates(service->upstream_tls, json_certificate, &certificates);
    }
    fputs("]}", out);
}

static void json_print(const struct snapshot *s, FILE *out)
{
    fputs("{\"settings\":", out);
    json_settings(s, NULL, out);
    fputs(",\"services\":[", out);
    for (size_t i = 0; i < s->service_count; i++) {
        fputs(i == 0 ? "" : ",", out);
        json_service(s, &s->services[i], out);
    }
    fputs("]}\n", out);
}

void snapshot_print(const struct snapshot *s, FILE *out)
{
    switch (s->config.check_format) {
    case CHECK_JSON:
        json_print(s, out);
        return;
    case CHECK_TEXT:
        break;
    }
    text_settings(s, NULL, out);
    for (size_t i = 0; i < s->service_count; i++) {
        text_service(s, &s->services[i], out);
    }
}
