/* The one list of options. What a row says is what the command line takes, what --help and
 * docs/configuration.md show and what `esclusa check` prints. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <stdlib.h>
#include <string.h>

#define DAY_MS ((int64_t)24 * 60 * 60 * 1000)

/* Longer is a mistake of units rather than a wish, and it keeps sums of times far from overflow. */
#define TIMEOUT_MAX_MS (365 * DAY_MS)

#define WORKERS_MAX 256

#define RANGE_MAX 128

static const struct option_choice tls_version_choices[] = {
    {"1.2", TLS_1_2}, {"1.3", TLS_1_3}, {NULL, 0}};

static const struct option_choice half_close_choices[] = {
    {"on", HALF_CLOSE_ON}, {"tls13", HALF_CLOSE_TLS13}, {"off", HALF_CLOSE_OFF}, {NULL, 0}};

static const struct option_choice cut_choices[] = {
    {"reset", CUT_RESET}, {"fin", CUT_FIN}, {NULL, 0}};

static const struct option_choice log_level_choices[] = {{"error", LOG_LEVEL_ERROR},
                                                         {"warn", LOG_LEVEL_WARN},
                                                         {"info", LOG_LEVEL_INFO},
                                                         {"debug", LOG_LEVEL_DEBUG},
                                                         {NULL, 0}};

static const struct option_choice log_format_choices[] = {
    {"text", LOG_FORMAT_TEXT}, {"json", LOG_FORMAT_JSON}, {NULL, 0}};

#define SERVICE(member) .scope = OPTION_SERVICE, .offset = offsetof(struct service_config, member)
#define GLOBAL(member)  .scope = OPTION_GLOBAL, .offset = offsetof(struct config, member)

const struct option_row option_table[] = {
    {.name = "listen",
     .letter = 'l',
     .type = OPTION_TEXT_LIST,
     SERVICE(listen),
     .own = true,
     .argument = "ADDR",
     .default_note = "required",
     .help = "where consumers connect: [tcp://|tls://]HOST:PORT, unix:/path or unix:@name; a bare "
             "PORT is on 127.0.0.1; repeatable"},
    {.name = "connect",
     .letter = 'c',
     .type = OPTION_TEXT_LIST,
     SERVICE(connect),
     .own = true,
     .argument = "ADDR",
     .default_note = "required",
     .help = "the upstream: [tls://|tcp://]HOST:PORT, unix:/path or unix:@name; a bare HOST:PORT "
             "is tls; repeatable: candidates in order"},
    {.name = "ca",
     .type = OPTION_TEXT,
     SERVICE(ca),
     .use = USE_TLS_UPSTREAM,
     .argument = "FILE",
     .default_note = "the system store",
     .help = "trust anchors for the upstream's certificate, PEM"},
    {.name = "ca_dir",
     .type = OPTION_TEXT,
     SERVICE(ca_dir),
     .use = USE_TLS_UPSTREAM,
     .argument = "DIR",
     .default_note = "the system store",
     .help = "directory of trust anchors for the upstream's certificate, PEM"},
    {.name = "cert",
     .type = OPTION_TEXT,
     SERVICE(cert),
     .use = USE_TLS_UPSTREAM,
     .argument = "FILE",
     .default_note = "none",
     .help = "client certificate chain shown to the upstream, PEM, leaf first"},
    {.name = "key",
     .type = OPTION_TEXT,
     SERVICE(key),
     .use = USE_TLS_UPSTREAM,
     .argument = "FILE",
     .default_note = "in the file of --cert",
     .help = "private key of the client certificate, PEM"},
    {.name = "server_name",
     .type = OPTION_TEXT,
     SERVICE(server_name),
     .use = USE_TLS_UPSTREAM,
     .argument = "NAME|IP",
     .default_note = "the host of --connect",
     .help = "name the upstream's certificate must bear, and the SNI sent (none for an IP)"},
    {.name = "listen_cert",
     .type = OPTION_TEXT,
     SERVICE(listen_cert),
     .use = USE_TLS_LISTENER,
     .argument = "FILE",
     .default_note = "required for tls:// listeners",
     .help = "certificate chain of the tls:// listeners, PEM, leaf first"},
    {.name = "listen_key",
     .type = OPTION_TEXT,
     SERVICE(listen_key),
     .use = USE_TLS_LISTENER,
     .argument = "FILE",
     .default_note = "required for tls:// listeners",
     .help = "private key of the tls:// listeners, PEM"},
    {.name = "listen_ca",
     .type = OPTION_TEXT,
     SERVICE(listen_ca),
     .use = USE_TLS_LISTENER,
     .argument = "FILE",
     .default_note = "none",
     .help = "require consumers of tls:// listeners to show a certificate from this CA, PEM"},
    {.name = "tls_min",
     .type = OPTION_CHOICE,
     SERVICE(tls_min),
     .use = USE_ANY_TLS,
     .argument = "1.2|1.3",
     .default_text = "1.2",
     .choices = tls_version_choices,
     .help = "lowest TLS version, on both sides"},
    {.name = "tls_max",
     .type = OPTION_CHOICE,
     SERVICE(tls_max),
     .use = USE_ANY_TLS,
     .argument = "1.2|1.3",
     .default_note = "the newest",
     .choices = tls_version_choices,
     .help = "highest TLS version, on both sides"},
    {.name = "backlog",
     .type = OPTION_NUMBER,
     SERVICE(backlog),
     .argument = "N",
     .default_text = "4096",
     .min = 1,
     .max = 65535,
     .help = "pending connections the kernel queues; it caps them at net.core.somaxconn"},
    {.name = "workers",
     .type = OPTION_NUMBER,
     GLOBAL(workers),
     .argument = "N",
     .default_note = "the CPUs this process may use",
     .min = 1,
     .max = WORKERS_MAX,
     .help = "event loops; affinity and cgroup CPU quota count for the default"},
    {.name = "connect_timeout",
     .type = OPTION_DURATION,
     SERVICE(connect_timeout),
     .argument = "DUR",
     .default_text = "10s",
     .min = 1,
     .max = TIMEOUT_MAX_MS,
     .help = "for resolving the name of an upstream and connecting to it, each candidate"},
    {.name = "handshake_timeout",
     .type = OPTION_DURATION,
     SERVICE(handshake_timeout),
     .argument = "DUR",
     .default_text = "10s",
     .min = 1,
     .max = TIMEOUT_MAX_MS,
     .help = "for a TLS handshake, each side"},
    {.name = "idle_timeout",
     .type = OPTION_DURATION,
     SERVICE(idle_timeout),
     .argument = "DUR",
     .default_text = "1h",
     .min = 1,
     .max = TIMEOUT_MAX_MS,
     .help = "a session in which no byte moves either way is closed after this"},
    {.name = "half_closed_timeout",
     .type = OPTION_DURATION,
     SERVICE(half_closed_timeout),
     .argument = "DUR",
     .default_text = "5m",
     .min = 1,
     .max = TIMEOUT_MAX_MS,
     .help = "the same once one direction has ended; bytes the other way start it anew"},
    {.name = "drain_timeout",
     .type = OPTION_DURATION,
     GLOBAL(drain_timeout),
     .argument = "DUR",
     .default_text = "5s",
     .min = 0,
     .max = TIMEOUT_MAX_MS,
     .help = "how long live sessions may go on after SIGTERM or SIGINT"},
    {.name = "half_close",
     .type = OPTION_CHOICE,
     SERVICE(half_close),
     .argument = "on|tls13|off",
     .default_text = "on",
     .choices = half_close_choices,
     .help = "pass a consumer's end of stream on to the upstream while answers still flow: "
             "always (on), but not over TLS 1.2 (tls13), or never (off)"},
    {.name = "missing_close_notify",
     .type = OPTION_CHOICE,
     SERVICE(missing_close_notify),
     .argument = "reset|fin",
     .default_text = "reset",
     .choices = cut_choices,
     .help =
         "what one side sees when the other's TLS stream was cut without close_notify: a reset, "
         "or a clean end (fin)"},
    {.name = "log_level",
     .type = OPTION_CHOICE,
     GLOBAL(log_level),
     .argument = "error|warn|info|debug",
     .default_text = "info",
     .choices = log_level_choices,
     .help = "least severe lines to log, to stderr"},
    {.name = "log_format",
     .type = OPTION_CHOICE,
     GLOBAL(log_format),
     .argument = "text|json",
     .default_text = "text",
     .choices = log_format_choices,
     .help = "form of the log lines"},
};

#define ROWS (sizeof(option_table) / sizeof(option_table[0]))

_Static_assert(ROWS <= OPTION_ROWS_MAX, "raise OPTION_ROWS_MAX");

const size_t option_count = ROWS;

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
        if (strcmp(written, flag) == 0 || (letter[1] != '\0' && strcmp(letter, flag) == 0)) {
            return &option_table[i];
        }
    }
    return NULL;
}

void config_quote(char *dst, size_t size, const char *value)
{
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

bool option_store(const struct option_row *row, void *base, const char *value, struct error *err)
{
    if (value[0] == '\0') {
        return error_set(err, "'': empty; give %s", row->argument);
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
    }
    return error_set(err, "unknown type of option");
}

void option_format(const struct option_row *row, const void *base, char *dst, size_t size)
{
    const char *at = (const char *)base + row->offset;
    size_t length = 0;
    dst[0] = '\0';
    if (row->type == OPTION_TEXT) {
        char *text = NULL;
        memcpy(&text, at, sizeof(text));
        (void)str_copy(dst, size, text == NULL ? "" : text);
        return;
    }
    if (row->type == OPTION_TEXT_LIST) {
        struct text_list list;
        memcpy(&list, at, sizeof(list));
        for (size_t i = 0; i < list.count; i++) {
            (void)str_append(dst, size, &length, "%s%s", i == 0 ? "" : ", ", list.items[i]);
        }
        return;
    }
    int64_t number = 0;
    memcpy(&number, at, sizeof(number));
    if (row->type == OPTION_CHOICE) {
        for (const struct option_choice *c = row->choices; c->word != NULL; c++) {
            if (c->value == number) {
                (void)str_copy(dst, size, c->word);
            }
        }
    } else if (number < row->min) {
        return; /* "as many as there are CPUs" and the like: none was given */
    } else if (row->type == OPTION_DURATION) {
        str_format_duration(dst, size, number);
    } else {
        (void)str_append(dst, size, &length, "%lld", (long long)number);
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
