/* The command line: words to options, and what may not be combined. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Words that are known but are no options of the table. */
struct special_word {
    const char *flag;
    char letter;
    enum command command;
    const char *refusal; /* NULL: the word is taken */
};

static const struct special_word special_words[] = {
    {"--help", 'h', COMMAND_HELP, NULL},
    {"--version", 'V', COMMAND_VERSION, NULL},
    {"--config", 0, COMMAND_RUN,
     "is not supported yet: give the settings as options; esclusa --help lists them"},
    {"--admin", 0, COMMAND_RUN,
     "is not supported yet: leave it out; the log says how each session ended"},
    {"--insecure-skip-verify", 0, COMMAND_RUN,
     "is no option: the upstream is always verified; give its CA with --ca"},
};

#define SPECIAL_WORDS (sizeof(special_words) / sizeof(special_words[0]))

static const struct special_word *special_word(const char *flag)
{
    for (size_t i = 0; i < SPECIAL_WORDS; i++) {
        const struct special_word *w = &special_words[i];
        const char letter[] = {'-', w->letter, '\0'};
        if (strcmp(w->flag, flag) == 0 || (w->letter != '\0' && strcmp(letter, flag) == 0)) {
            return w;
        }
    }
    return NULL;
}

/* ---- "did you mean" ---- */

struct guess {
    char flag[OPTION_FLAG_MAX];
    size_t distance;
};

static void guess_consider(struct guess *best, const char *typed, const char *flag)
{
    /* The start of an option is a likely abbreviation: as good as one slip. */
    const size_t typed_length = strlen(typed);
    const bool abbreviation = typed_length >= 4 && strncmp(flag, typed, typed_length) == 0;
    const size_t distance = abbreviation ? 1 : str_distance(flag, typed);
    if (distance < best->distance) {
        best->distance = distance;
        (void)str_copy(best->flag, sizeof(best->flag), flag);
    }
}

/* Puts the likeliest option in flag, or "". typed: without a value. */
static void guess_option(const char *typed, char *flag, size_t size)
{
    /* "-connect", as other programs write it, is one dash short of an option. */
    char full[OPTION_FLAG_MAX];
    size_t length = 0;
    const bool two_dashes = strncmp(typed, "--", 2) == 0;
    const bool fits = str_append(full, sizeof(full), &length, "%s%s", two_dashes ? "" : "-", typed);
    flag[0] = '\0';
    if (!fits || length < strlen("--")) {
        return;
    }
    /* A slip in two letters; in words as short as "-z" anything would be like anything. */
    const size_t letters = length - strlen("--");
    struct guess best = {.distance = letters / 2 < 3 ? letters / 2 + 1 : 4};
    if (letters < 3) {
        return;
    }
    for (size_t i = 0; i < option_count; i++) {
        char candidate[OPTION_FLAG_MAX];
        option_flag(&option_table[i], candidate, sizeof(candidate));
        guess_consider(&best, full, candidate);
    }
    for (size_t i = 0; i < SPECIAL_WORDS; i++) {
        if (special_words[i].refusal == NULL) {
            guess_consider(&best, full, special_words[i].flag);
        }
    }
    (void)str_copy(flag, size, best.flag);
}

/* ---- words ---- */

struct reader {
    int argc;
    char *const *argv;
    int next;
    struct config *config;
    bool given[OPTION_ROWS_MAX];
};

/* An option word taken apart: "--name=value" or "--name" or "-l". */
struct option_word {
    char flag[OPTION_FLAG_MAX];
    const char *value; /* behind the first '='; NULL: none */
};

/* False: longer than any option. */
static bool split_word(struct option_word *w, const char *word)
{
    const char *equals = strchr(word, '=');
    const size_t length = equals == NULL ? strlen(word) : (size_t)(equals - word);
    w->value = equals == NULL ? NULL : equals + 1;
    if (length >= sizeof(w->flag)) {
        w->flag[0] = '\0';
        return false;
    }
    memcpy(w->flag, word, length);
    w->flag[length] = '\0';
    return true;
}

static bool is_known_option(const char *word)
{
    struct option_word w;
    return split_word(&w, word) && (option_by_flag(w.flag) != NULL || special_word(w.flag) != NULL);
}

static bool refuse_unknown(const char *word, const struct option_word *w, struct error *err)
{
    char shown[4 * OPTION_FLAG_MAX + 1];
    const size_t name_length = strcspn(word, "=");
    const size_t shown_length = name_length < OPTION_FLAG_MAX ? name_length : OPTION_FLAG_MAX;
    str_escape(shown, sizeof(shown), word, shown_length);

    char guess[OPTION_FLAG_MAX];
    guess_option(w->flag, guess, sizeof(guess));
    if (guess[0] != '\0') {
        return error_set(err, "%s: unknown option; did you mean %s?", shown, guess);
    }
    if (word[1] != '-' && option_by_flag((const char[]){'-', word[1], '\0'}) != NULL) {
        return error_set(err, "%s: unknown option; the value of -%c is the next word: -%c %s",
                         shown, word[1], word[1],
                         option_by_flag((const char[]){'-', word[1], '\0'})->argument);
    }
    return error_set(err, "%s: unknown option; esclusa --help lists them", shown);
}

static bool store(struct reader *r, const struct option_row *row, const char *value,
                  struct error *err)
{
    char flag[OPTION_FLAG_MAX];
    char quoted[QUOTE_MAX];
    option_flag(row, flag, sizeof(flag));
    const size_t index = (size_t)(row - option_table);
    if (r->given[index] && row->type != OPTION_TEXT_LIST) {
        config_quote(quoted, sizeof(quoted), value);
        return error_set(err, "%s %s: given a second time; give it once", flag, quoted);
    }
    struct error reason;
    error_init(&reason);
    if (!option_store(row, config_base_of(r->config, row), value, &reason)) {
        return error_set(err, "%s %s", flag, reason.text);
    }
    r->given[index] = true;
    return true;
}

static bool read_row(struct reader *r, const struct option_row *row, const struct option_word *w,
                     struct error *err)
{
    if (w->value != NULL) {
        return store(r, row, w->value, err);
    }
    if (r->next >= r->argc) {
        return error_set(err, "%s: its value is missing; give %s", w->flag, row->argument);
    }
    const char *value = r->argv[r->next];
    if (value[0] == '-' && is_known_option(value)) {
        char quoted[QUOTE_MAX];
        config_quote(quoted, sizeof(quoted), value);
        return error_set(err, "%s: its value is missing, as %s is an option; give %s", w->flag,
                         quoted, row->argument);
    }
    r->next++;
    return store(r, row, value, err);
}

static bool refuse_positional(const char *word, bool first, struct error *err)
{
    char quoted[QUOTE_MAX];
    config_quote(quoted, sizeof(quoted), word);
    if (strcmp(word, "check") == 0) {
        return error_set(err, "%s: in the wrong place; check comes first: esclusa check OPTIONS",
                         quoted);
    }
    if (first && strlen(word) < OPTION_FLAG_MAX && str_distance(word, "check") <= 2) {
        return error_set(err, "%s: unknown command; did you mean check?", quoted);
    }
    return error_set(err,
                     "%s: not an option; addresses are given as --listen ADDR and "
                     "--connect ADDR",
                     quoted);
}

/* True and *command_r changed: nothing behind this word counts. */
static bool read_special(const struct special_word *s, const struct option_word *w,
                         enum command *command_r, struct error *err)
{
    if (s->refusal != NULL) {
        return error_set(err, "%s %s", s->flag, s->refusal);
    }
    if (w->value != NULL) {
        char quoted[QUOTE_MAX];
        config_quote(quoted, sizeof(quoted), w->value);
        return error_set(err, "%s %s: takes no value; write %s alone", s->flag, quoted, s->flag);
    }
    *command_r = s->command;
    return true;
}

/* One option with its value. */
static bool read_option(struct reader *r, const char *word, enum command *command_r,
                        struct error *err)
{
    struct option_word w;
    const bool fits = split_word(&w, word);
    const struct special_word *special = special_word(w.flag);
    const struct option_row *row = option_by_flag(w.flag);
    /* A value behind '=' belongs to the long form only. */
    const bool short_with_value = word[1] != '-' && w.value != NULL;
    if (fits && special != NULL) {
        return read_special(special, &w, command_r, err);
    }
    if (fits && row != NULL && !short_with_value) {
        return read_row(r, row, &w, err);
    }
    return refuse_unknown(word, &w, err);
}

/* ---- what may not be combined ---- */

struct addresses {
    const struct config *config;
    const bool *given; /* by row of option_table */
    struct net_endpoint *listen, *connect;
    bool listen_tls, connect_tls; /* one of them at least */
};

static bool is_given(const struct addresses *a, const char *name)
{
    return a->given[option_by_name(name) - option_table];
}

/* Puts the option before the text: "--connect 'x': ..." or "--connect: ...". */
static bool name_option(struct error *err, const char *flag, const struct error *reason)
{
    return error_set(err, reason->text[0] == '\'' ? "%s %s" : "%s: %s", flag, reason->text);
}

static bool parse_addresses(const struct text_list *list, enum net_role role, const char *flag,
                            struct net_endpoint **endpoints_r, bool *tls_r, struct error *err)
{
    *endpoints_r = calloc(list->count, sizeof(**endpoints_r));
    if (*endpoints_r == NULL) {
        return error_set(err, "no memory");
    }
    for (size_t i = 0; i < list->count; i++) {
        struct error reason;
        error_init(&reason);
        if (!net_endpoint_parse(&(*endpoints_r)[i], list->items[i], role, &reason)) {
            return name_option(err, flag, &reason);
        }
        *tls_r = *tls_r || (*endpoints_r)[i].scheme == NET_TLS;
    }
    return true;
}

/* False: a name that says nothing of its address. */
static bool endpoint_addr(const struct net_endpoint *e, struct net_addr *a)
{
    if (net_addr_from_literal(a, e->host, e->port)) {
        return true;
    }
    /* RFC 6761 6.3: always the loopback address. */
    return strcasecmp(e->host, "localhost") == 0 && net_addr_from_literal(a, "127.0.0.1", e->port);
}

static bool is_wildcard(const struct net_addr *a)
{
    return a->u.sa.sa_family == AF_INET ? a->u.in.sin_addr.s_addr == htonl(INADDR_ANY)
                                        : IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr);
}

static bool is_loopback(const struct net_addr *a)
{
    return a->u.sa.sa_family == AF_INET
               ? ntohl(a->u.in.sin_addr.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET
               : IN6_IS_ADDR_LOOPBACK(&a->u.in6.sin6_addr);
}

static bool same_host(const struct net_addr *a, const struct net_addr *b)
{
    if (a->u.sa.sa_family != b->u.sa.sa_family) {
        return false;
    }
    if (a->u.sa.sa_family == AF_INET) {
        return a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr;
    }
    return a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id &&
           IN6_ARE_ADDR_EQUAL(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr);
}

/* The same socket address, whatever is spoken there. *a_r and *b_r: theirs, if they are known. */
static bool same_place(const struct net_endpoint *a, const struct net_endpoint *b,
                       struct net_addr *a_r, struct net_addr *b_r, bool *known_r)
{
    *known_r = false;
    if (a->scheme == NET_UNIX || b->scheme == NET_UNIX) {
        return a->scheme == b->scheme && strcmp(a->path, b->path) == 0;
    }
    if (a->port != b->port) {
        return false;
    }
    if (endpoint_addr(a, a_r) && endpoint_addr(b, b_r)) {
        *known_r = a_r->u.sa.sa_family == b_r->u.sa.sa_family;
        return same_host(a_r, b_r);
    }
    return strcasecmp(a->host, b->host) == 0;
}

/* bind(2) would refuse the second: 0.0.0.0 takes the port on every address. */
static bool listeners_clash(const struct net_endpoint *a, const struct net_endpoint *b)
{
    struct net_addr first;
    struct net_addr second;
    bool known = false;
    return same_place(a, b, &first, &second, &known) ||
           (known && (is_wildcard(&first) || is_wildcard(&second)));
}

/* The upstream is this listener: every connection would beget another without end. */
static bool is_loop(const struct net_endpoint *listener, const struct net_endpoint *upstream)
{
    struct net_addr here;
    struct net_addr there;
    bool known = false;
    if (same_place(listener, upstream, &here, &there, &known)) {
        return true;
    }
    /* Connecting to the wildcard address reaches loopback: ip(7). */
    return known && ((is_wildcard(&here) && is_loopback(&there)) ||
                     (is_wildcard(&there) && is_loopback(&here)));
}

static bool check_places(const struct addresses *a, struct error *err)
{
    const struct service_config *s = &a->config->services[0];
    char one[QUOTE_MAX];
    char other[QUOTE_MAX];
    for (size_t i = 0; i < s->listen.count; i++) {
        config_quote(one, sizeof(one), s->listen.items[i]);
        for (size_t j = 0; j < i; j++) {
            if (listeners_clash(&a->listen[j], &a->listen[i])) {
                config_quote(other, sizeof(other), s->listen.items[j]);
                return error_set(err,
                                 "--listen %s: the same address as --listen %s; give each address "
                                 "and port once",
                                 one, other);
            }
        }
        for (size_t j = 0; j < s->connect.count; j++) {
            if (is_loop(&a->listen[i], &a->connect[j])) {
                config_quote(other, sizeof(other), s->connect.items[j]);
                return error_set(err,
                                 "--connect %s: the same address as --listen %s, so esclusa would "
                                 "connect to itself; give another port",
                                 other, one);
            }
        }
    }
    return true;
}

enum use { USE_UPSTREAM, USE_LISTENER, USE_EITHER };

/* Settings that only TLS has, and on which side. */
static const struct tls_only {
    const char *name;
    enum use use;
} tls_only[] = {
    {"ca", USE_UPSTREAM},         {"ca_dir", USE_UPSTREAM},      {"cert", USE_UPSTREAM},
    {"key", USE_UPSTREAM},        {"server_name", USE_UPSTREAM}, {"listen_cert", USE_LISTENER},
    {"listen_key", USE_LISTENER}, {"listen_ca", USE_LISTENER},   {"tls_min", USE_EITHER},
    {"tls_max", USE_EITHER},
};

/* An option that nothing would use is a misunderstanding, and often one about security. */
static bool check_tls_only(const struct addresses *a, struct error *err)
{
    for (size_t i = 0; i < sizeof(tls_only) / sizeof(tls_only[0]); i++) {
        const bool used = (tls_only[i].use != USE_LISTENER && a->connect_tls) ||
                          (tls_only[i].use != USE_UPSTREAM && a->listen_tls);
        if (used || !is_given(a, tls_only[i].name)) {
            continue;
        }
        char flag[OPTION_FLAG_MAX];
        option_flag(option_by_name(tls_only[i].name), flag, sizeof(flag));
        switch (tls_only[i].use) {
        case USE_UPSTREAM:
            return error_set(err,
                             "%s: would not be used, as no --connect is tls://; write --connect "
                             "tls://HOST:PORT or leave it out",
                             flag);
        case USE_LISTENER:
            return error_set(err,
                             "%s: would not be used, as no --listen is tls://; write --listen "
                             "tls://HOST:PORT or leave it out",
                             flag);
        case USE_EITHER:
            return error_set(err,
                             "%s: would not be used, as neither --listen nor --connect is tls://; "
                             "leave it out",
                             flag);
        }
    }
    return true;
}

static bool check_tls_settings(const struct addresses *a, struct error *err)
{
    const struct service_config *s = &a->config->services[0];
    if (a->listen_tls && s->listen_cert == NULL) {
        return error_set(err, "--listen-cert: missing, and a tls:// listener needs it; give the "
                              "certificate chain: --listen-cert FILE");
    }
    if (a->listen_tls && s->listen_key == NULL) {
        return error_set(err, "--listen-key: missing, and a tls:// listener needs it; give the "
                              "private key: --listen-key FILE");
    }
    if (s->key != NULL && s->cert == NULL) {
        return error_set(err, "--key: given without --cert; give the client certificate that it "
                              "belongs to: --cert FILE");
    }
    if (s->tls_min == TLS_1_3 && s->tls_max == TLS_1_2) {
        return error_set(err, "--tls-min '1.3': above --tls-max '1.2'; give a --tls-max of 1.3 or "
                              "leave one of them out");
    }
    return true;
}

/* The name that each tls:// upstream must bear. */
static bool check_names(const struct addresses *a, struct error *err)
{
    const struct service_config *s = &a->config->services[0];
    struct tls_name name;
    struct error reason;
    error_init(&reason);
    if (s->server_name != NULL) {
        return tls_name_set(&name, s->server_name, &reason) ||
               name_option(err, "--server-name", &reason);
    }
    for (size_t i = 0; i < s->connect.count; i++) {
        if (a->connect[i].scheme == NET_TLS &&
            !upstream_expected(&name, s, &a->connect[i], &reason)) {
            (void)name_option(err, "--connect", &reason);
            return false;
        }
    }
    return true;
}

static bool check_all(struct addresses *a, struct error *err)
{
    const struct service_config *s = &a->config->services[0];
    if (s->listen.count == 0) {
        return error_set(err, "--listen: missing; say where consumers connect, like --listen "
                              "127.0.0.1:8080");
    }
    if (s->connect.count == 0) {
        return error_set(err, "--connect: missing; say where the upstream is, like --connect "
                              "example.com:443");
    }
    return parse_addresses(&s->listen, NET_LISTEN, "--listen", &a->listen, &a->listen_tls, err) &&
           parse_addresses(&s->connect, NET_CONNECT, "--connect", &a->connect, &a->connect_tls,
                           err) &&
           check_tls_only(a, err) && check_tls_settings(a, err) && check_names(a, err) &&
           check_places(a, err);
}

static bool check(const struct config *c, const bool *given, struct error *err)
{
    struct addresses a = {.config = c, .given = given};
    const bool ok = check_all(&a, err);
    free(a.listen);
    free(a.connect);
    return ok;
}

bool config_from_command_line(struct config *c, int argc, char *const argv[],
                              enum command *command_r, struct error *err)
{
    struct reader r = {.argc = argc, .argv = argv, .next = 1, .config = c};
    *command_r = COMMAND_RUN;
    if (argc > 1 && strcmp(argv[1], "check") == 0) {
        *command_r = COMMAND_CHECK;
        r.next = 2;
    }
    bool options_ended = false;
    while (r.next < argc) {
        const int at = r.next++;
        const char *word = argv[at];
        if (!options_ended && strcmp(word, "--") == 0) {
            options_ended = true;
            continue;
        }
        if (options_ended || word[0] != '-' || word[1] == '\0') {
            return refuse_positional(word, at == 1, err);
        }
        if (!read_option(&r, word, command_r, err)) {
            return false;
        }
        if (*command_r == COMMAND_HELP || *command_r == COMMAND_VERSION) {
            return true;
        }
    }
    return check(c, r.given, err);
}
