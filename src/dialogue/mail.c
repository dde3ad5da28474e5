/* IMAP (RFC 9051 6.2.1, 7.1) and POP3 (RFC 1939, RFC 2595): the two ways to fetch mail. The
 * greeting is kept for the consumer. */
#include "dialogue_internal.h"

#include <string.h>

#define UNTAGGED_MAX 64

enum { GREETING, CAPABILITY, GO };

static bool is(const char *line, size_t length, const char *word)
{
    size_t n = strlen(word);
    return dialogue_begins(line, length, word) && (length == n || line[n] == ' ');
}

static void not_of_it(struct dialogue *d, const char *line, size_t length)
{
    dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, "check that the port is the right one",
                  "the server's answer is not of %s%s", d->row->word,
                  dialogue_guess((const uint8_t *)line, length));
}

static void refused_tls(struct dialogue *d, const char *line, size_t length)
{
    dialogue_note(d, line, length);
    dialogue_fail(d, DIALOGUE_FAULT_NO_TLS, dialogue_no_tls_remedy,
                  "the server refused to begin TLS: %s", d->note);
}

static void not_serving(struct dialogue *d, const char *line, size_t length)
{
    dialogue_note(d, line, length);
    dialogue_fail(d, DIALOGUE_FAULT_UNREACHABLE, "look at the server's log",
                  "the server refused with its greeting: %s", d->note);
}

/* ---- IMAP ---- */

/* A word of its own in a list of capabilities. */
static bool lists(const char *text, size_t length, const char *word)
{
    size_t n = strlen(word);
    for (size_t at = 0; at + n <= length; at++) {
        bool begins = at == 0 || text[at - 1] == ' ';
        bool ends = at + n == length || text[at + n] == ' ' || text[at + n] == ']';
        if (begins && ends && dialogue_begins(text + at, length - at, word))
            return true;
    }
    return false;
}

/* The greeting may list what the server can do before TLS: STARTTLS, perhaps LOGINDISABLED. That
 * is not so any more when the consumer hears it, who would never ask again: it is left out. */
static void keep_greeting(struct dialogue *d, const char *line, size_t length)
{
    static const char code[] = "* OK [CAPABILITY";
    const char *close = NULL;
    if (is(line, length, code))
        close = memchr(line, ']', length);
    if (close == NULL) {
        dialogue_early(d, line, length);
    } else {
        size_t rest = length - (size_t)(close + 1 - line);
        dialogue_early(d, "* OK", 4);
        dialogue_early(d, rest > 0 ? close + 1 : " ready", rest > 0 ? rest : 6);
    }
    dialogue_early(d, "\r\n", 2);
}

static bool imap_greeting(struct dialogue *d, const char *line, size_t length)
{
    if (is(line, length, "* PREAUTH")) {
        dialogue_fail(d, DIALOGUE_FAULT_NO_TLS,
                      "let the server not log this host in by its address: TLS cannot begin then",
                      "the server has logged us in already (PREAUTH) and lets TLS not begin");
        return false;
    }
    if (is(line, length, "* BYE")) {
        not_serving(d, line, length);
        return false;
    }
    if (!is(line, length, "* OK")) {
        not_of_it(d, line, length);
        return false;
    }
    keep_greeting(d, line, length);
    d->stage = CAPABILITY;
    dialogue_say_text(d, "e1 CAPABILITY\r\n");
    return true;
}

static bool imap_tagged(struct dialogue *d, const char *line, size_t length)
{
    const char *ok = d->stage == CAPABILITY ? "e1 OK" : "e2 OK";
    const char *no = d->stage == CAPABILITY ? "e1 NO" : "e2 NO";
    const char *bad = d->stage == CAPABILITY ? "e1 BAD" : "e2 BAD";
    bool good = is(line, length, ok);
    if (!good && !is(line, length, no) && !is(line, length, bad)) {
        not_of_it(d, line, length);
        return false;
    }
    if (good && d->stage == GO) {
        dialogue_done(d);
    } else if (!good) {
        refused_tls(d, line, length);
    } else if (!d->offers) {
        dialogue_fail(d, DIALOGUE_FAULT_NO_TLS, dialogue_no_tls_remedy,
                      "the server does not offer STARTTLS");
    } else {
        d->stage = GO;
        dialogue_say_text(d, "e2 STARTTLS\r\n");
    }
    return d->state != DIALOGUE_FAILED;
}

static bool step_imap(struct dialogue *d, const uint8_t *in, size_t have)
{
    (void)in;
    (void)have;
    static const char list[] = "* CAPABILITY";
    size_t length = 0, whole = 0;
    const char *line = dialogue_line(d, &length, &whole);
    bool good;
    if (line == NULL)
        return false;
    if (length > 0 && line[length - 1] == '}') { /* bytes that are no lines would follow */
        not_of_it(d, line, length);
        return false;
    }
    if (d->stage == GREETING) {
        good = imap_greeting(d, line, length);
    } else if (is(line, length, "* BYE")) {
        not_serving(d, line, length);
        return false;
    } else if (length >= 2 && line[0] == '*' && line[1] == ' ' && ++d->count <= UNTAGGED_MAX) {
        if (is(line, length, list))
            d->offers = lists(line + sizeof list - 1, length - (sizeof list - 1), "STARTTLS");
        good = true;
    } else {
        good = imap_tagged(d, line, length);
    }
    if (good)
        dialogue_take(d, whole);
    return good && d->state != DIALOGUE_FAILED;
}

const struct dialogue_row imap_row = {
    .word = "imap",
    .peer = "the server",
    .unit_max = 8192,
    .step = step_imap,
};

/* ---- POP3 ---- */

static bool step_pop3(struct dialogue *d, const uint8_t *in, size_t have)
{
    (void)in;
    (void)have;
    size_t length = 0, whole = 0;
    const char *line = dialogue_line(d, &length, &whole);
    if (line == NULL)
        return false;
    bool ok = is(line, length, "+OK");
    if (!ok && !is(line, length, "-ERR")) {
        not_of_it(d, line, length);
    } else if (!ok && d->stage == GREETING) {
        not_serving(d, line, length);
    } else if (!ok) {
        refused_tls(d, line, length);
    } else if (d->stage == GREETING) {
        d->stage = GO;
        dialogue_early(d, line, whole);
        dialogue_say_text(d, "STLS\r\n");
    } else {
        dialogue_done(d);
    }
    if (d->state != DIALOGUE_FAILED)
        dialogue_take(d, whole);
    return d->state != DIALOGUE_FAILED;
}

const struct dialogue_row pop3_row = {
    .word = "pop3",
    .peer = "the server",
    .unit_max = 2048,
    .step = step_pop3,
};
