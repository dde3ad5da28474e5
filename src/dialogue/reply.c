/* SMTP (RFC 5321, RFC 3207) and FTP (RFC 959, RFC 4217): replies of three digits, the lines of one
 * but its last with a '-' behind them. The greeting is kept for the consumer, who has not heard it;
 * all else that was said before TLS is forgotten by both ends. */
#include "dialogue_internal.h"

#include <string.h>

#define LINES_MAX 256 /* of one reply */

enum { GREETING, HELLO, GO };

struct reply_words {
    const char *hello; /* asks for extensions; NULL: TLS is asked for without */
    const char *begin_tls;
    unsigned go; /* the code that says: begin TLS */
};

static const struct reply_words smtp_words = {"EHLO localhost\r\n", "STARTTLS\r\n", 220};
static const struct reply_words ftp_words = {NULL, "AUTH TLS\r\n", 234};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* FTP lets the lines in the middle of a reply be anything (RFC 959 4.2); SMTP wants the code. */
static bool good_line(const struct dialogue *d, const char *line, size_t length, bool *last_r)
{
    bool has_code =
        length >= 3 && line[0] >= '1' && line[0] <= '5' && is_digit(line[1]) && is_digit(line[2]);
    unsigned code =
        has_code ? (unsigned)((line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0')) : 0;
    bool dash = length > 3 && line[3] == '-';
    bool ends = length == 3 || (length > 3 && line[3] == ' ');
    *last_r = has_code && ends && (d->code == 0 || code == d->code);
    if (d->code == 0)
        return has_code && (dash || ends);
    return d->row == &ftp_row || (has_code && code == d->code && (dash || ends));
}

static void refused(struct dialogue *d)
{
    const char *at[] = {
        [GREETING] = "with its greeting", [HELLO] = "at EHLO", [GO] = "to begin TLS"};
    /* One that does not serve (now) is another thing than one that serves without TLS. */
    bool no_tls = d->stage == GO || (d->stage == HELLO && d->code >= 500);
    dialogue_fail(d, no_tls ? DIALOGUE_FAULT_NO_TLS : DIALOGUE_FAULT_UNREACHABLE,
                  no_tls ? dialogue_no_tls_remedy : "look at the server's log",
                  "the server refused %s: %s", at[d->stage], d->note);
}

static void say_begin_tls(struct dialogue *d, const struct reply_words *words)
{
    d->stage = GO;
    dialogue_say_text(d, words->begin_tls);
}

static void replied(struct dialogue *d, const struct reply_words *words)
{
    switch (d->stage) {
    case GREETING:
        if (d->code == 120) { /* FTP: ready in some minutes; the greeting comes then */
            buf_fini(&d->early);
        } else if (d->code != 220) {
            refused(d);
        } else if (words->hello == NULL) {
            say_begin_tls(d, words);
        } else {
            d->stage = HELLO;
            dialogue_say_text(d, words->hello);
        }
        break;
    case HELLO:
        if (d->code != 250)
            refused(d);
        else if (!d->offers)
            dialogue_fail(d, DIALOGUE_FAULT_NO_TLS, dialogue_no_tls_remedy,
                          "the server does not offer STARTTLS");
        else
            say_begin_tls(d, words);
        break;
    default:
        if (d->code == words->go)
            dialogue_done(d);
        else
            refused(d);
        break;
    }
    d->code = 0;
    d->count = 0;
}

static bool step_reply(struct dialogue *d, const struct reply_words *words)
{
    size_t length = 0, whole = 0;
    bool last = false;
    const char *line = dialogue_line(d, &length, &whole);
    if (line == NULL)
        return false;
    if (!good_line(d, line, length, &last) || ++d->count > LINES_MAX) {
        dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, "check that the port is the right one",
                      "the server's answer is not of %s%s", d->row->word,
                      dialogue_guess((const uint8_t *)line, length));
        return false;
    }
    if (d->code == 0)
        d->code = (unsigned)((line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0'));
    if (d->stage == GREETING)
        dialogue_early(d, line, whole);
    /* An extension is a word of its own: RFC 5321 4.1.1.1. The first line is the server's name. */
    if (d->stage == HELLO && d->count > 1 && length >= 12 &&
        dialogue_begins(line + 4, length - 4, "STARTTLS") && (length == 12 || line[12] == ' '))
        d->offers = true;
    dialogue_note(d, line, length);
    dialogue_take(d, whole);
    if (last && d->state == DIALOGUE_MORE)
        replied(d, words);
    return d->state != DIALOGUE_FAILED;
}

static bool step_smtp(struct dialogue *d, const uint8_t *in, size_t have)
{
    (void)in;
    (void)have;
    return step_reply(d, &smtp_words);
}

static bool step_ftp(struct dialogue *d, const uint8_t *in, size_t have)
{
    (void)in;
    (void)have;
    return step_reply(d, &ftp_words);
}

const struct dialogue_row smtp_row = {
    .word = "smtp",
    .peer = "the server",
    .unit_max = 4096,
    .step = step_smtp,
};

const struct dialogue_row ftp_row = {
    .word = "ftp",
    .peer = "the server",
    .unit_max = 4096,
    .step = step_ftp,
};
