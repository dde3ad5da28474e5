/* What all dialogues share: whose turn it is, bounds, the rest. */
#include "dialogue_internal.h"

#include <esclusa/str.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* MySQL's connection attributes may be 64 KiB, and a read brings more than was waited for. */
#define CONSUMER_MAX ((size_t)192 * 1024)

const char dialogue_no_tls_remedy[] = "turn TLS on at the server; without it nothing is sent there";

static const char injection_remedy[] =
    "somebody between here and there may be putting words in, or the server is broken: look at it "
    "with tcpdump; this check cannot be turned off";

static const struct dialogue_row *const rows[DIALOGUE_COUNT] = {
    [DIALOGUE_HTTP] = &http_row,         [DIALOGUE_SOCKS5] = &socks5_row,
    [DIALOGUE_POSTGRES] = &postgres_row, [DIALOGUE_MYSQL] = &mysql_row,
    [DIALOGUE_SMTP] = &smtp_row,         [DIALOGUE_IMAP] = &imap_row,
    [DIALOGUE_POP3] = &pop3_row,         [DIALOGUE_LDAP] = &ldap_row,
    [DIALOGUE_XMPP] = &xmpp_row,         [DIALOGUE_FTP] = &ftp_row,
};

const char *dialogue_word(enum dialogue_protocol protocol)
{
    static const char *const words[DIALOGUE_COUNT] = {
#define DIALOGUE_WORD(name, word) [name] = (word),
        DIALOGUE_LIST(DIALOGUE_WORD)
#undef DIALOGUE_WORD
    };
    return words[protocol];
}

bool dialogue_is_proxy(enum dialogue_protocol protocol)
{
    return rows[protocol]->proxy;
}

/* ---- the end ---- */

/* It may hold credentials. */
static void wipe(struct buf *b)
{
    if (b->data != NULL)
        explicit_bzero(b->data, b->capacity);
    buf_fini(b);
}

void dialogue_fail(struct dialogue *d, enum dialogue_fault fault, const char *remedy,
                   const char *format, ...)
{
    va_list args;
    if (d->state == DIALOGUE_FAILED)
        return; /* the first reason is the reason */
    d->state = DIALOGUE_FAILED;
    d->fault = fault;
    d->remedy = remedy;
    va_start(args, format);
    (void)vsnprintf(d->error, sizeof d->error, format, args);
    va_end(args);
    wipe(&d->out); /* nothing more is said */
    wipe(&d->held);
    buf_fini(&d->in);
    buf_fini(&d->early);
}

static void no_memory(struct dialogue *d)
{
    dialogue_fail(d, DIALOGUE_FAULT_MEMORY, NULL, "no memory for the dialogue before TLS");
}

void dialogue_done(struct dialogue *d)
{
    d->state = DIALOGUE_DONE;
}

/* ---- for the protocols ---- */

void dialogue_say(struct dialogue *d, const void *bytes, size_t length)
{
    if (!buf_append(&d->out, bytes, length))
        no_memory(d);
}

void dialogue_say_text(struct dialogue *d, const char *text)
{
    dialogue_say(d, text, strlen(text));
}

void dialogue_early(struct dialogue *d, const void *bytes, size_t length)
{
    if (!buf_append(&d->early, bytes, length))
        no_memory(d);
}

void dialogue_take(struct dialogue *d, size_t length)
{
    buf_consume(&d->in, length);
    d->heard += length;
    if (d->heard > DIALOGUE_TOTAL_MAX)
        dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, NULL, "%s said more than %zu KiB before TLS",
                      d->row->peer, DIALOGUE_TOTAL_MAX / 1024);
}

const char *dialogue_line(struct dialogue *d, size_t *length_r, size_t *whole_r)
{
    const char *line = (const char *)buf_peek(&d->in);
    size_t have = buf_length(&d->in);
    const char *end = have == 0 ? NULL : memchr(line, '\n', have);
    size_t length = end == NULL ? have : (size_t)(end - line);
    if (end != NULL && length > 0 && line[length - 1] == '\r')
        length--;
    /* A CR that comes last may be the first half of the end. */
    size_t look = end == NULL && length > 0 && line[length - 1] == '\r' ? length - 1 : length;
    if (look > 0 && (memchr(line, '\0', look) != NULL || memchr(line, '\r', look) != NULL)) {
        dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, NULL,
                      "%s did not answer in lines of text, as %s has them%s", d->row->peer,
                      d->row->word, dialogue_guess((const uint8_t *)line, have));
        return NULL;
    }
    if (end == NULL)
        return NULL;
    *length_r = length;
    *whole_r = (size_t)(end - line) + 1;
    return line;
}

void dialogue_note(struct dialogue *d, const void *bytes, size_t length)
{
    str_escape(d->note, sizeof d->note, bytes, length);
}

bool dialogue_begins(const char *text, size_t length, const char *word)
{
    size_t n = strlen(word);
    return length >= n && strncasecmp(text, word, n) == 0;
}

const char *dialogue_guess(const uint8_t *bytes, size_t length)
{
    static const struct {
        const char *head;
        const char *guess;
    } known[] = {
        {"\x15\x03", "; it seems to speak TLS from the first byte on"},
        {"\x16\x03", "; it seems to speak TLS from the first byte on"},
        {"HTTP/", "; it seems to be an HTTP server"},
        {"SSH-", "; it seems to be an SSH server"},
        {"220", "; it seems to be an SMTP or FTP server"},
        {"* OK", "; it seems to be an IMAP server"},
        {"+OK", "; it seems to be a POP3 server"},
        {"\x05", "; it seems to be a SOCKS5 proxy"},
        {"<", "; it seems to speak XML or HTML"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t n = strlen(known[i].head);
        if (length >= n && memcmp(bytes, known[i].head, n) == 0)
            return known[i].guess;
    }
    return "";
}

/* ---- life ---- */

/* A host goes into lines, headers and attributes as it is. */
static bool can_be_said(const char *host)
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               ".:_-%";
    size_t length = host == NULL ? 0 : strlen(host);
    return length > 0 && length <= 255 && strspn(host, fine) == length;
}

struct dialogue *dialogue_create(const struct dialogue_order *order)
{
    struct dialogue *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->row = rows[order->protocol];
    d->state = DIALOGUE_MORE;
    d->has_credentials = order->user != NULL && order->password != NULL;
    bool names_host = d->row->proxy || order->protocol == DIALOGUE_XMPP;
    if (names_host && !can_be_said(order->host))
        dialogue_fail(d, DIALOGUE_FAULT_WORDS, "write the host as letters, digits, '.' and '-'",
                      "the host cannot be said in %s", d->row->word);
    else if (d->row->begin != NULL)
        d->row->begin(d, order);
    return d;
}

void dialogue_destroy(struct dialogue **dialogue)
{
    struct dialogue *d = *dialogue;
    *dialogue = NULL;
    if (d == NULL)
        return;
    wipe(&d->out);
    wipe(&d->held);
    buf_fini(&d->in);
    buf_fini(&d->early);
    free(d);
}

/* ---- in and out ---- */

size_t dialogue_pending(const struct dialogue *d, const uint8_t **bytes_r)
{
    *bytes_r = buf_peek(&d->out);
    return buf_length(&d->out);
}

void dialogue_sent(struct dialogue *d, size_t length)
{
    if (length >= buf_length(&d->out))
        wipe(&d->out);
    else
        buf_consume(&d->out, length);
}

static void out_of_turn(struct dialogue *d)
{
    dialogue_fail(d, DIALOGUE_FAULT_INJECTED, injection_remedy,
                  "%s sent %zu bytes that nothing had asked for yet", d->row->peer,
                  buf_length(&d->in));
}

static void run(struct dialogue *d)
{
    while (d->state == DIALOGUE_MORE && !buf_empty(&d->in)) {
        size_t said = buf_length(&d->out);
        if (!d->row->step(d, buf_peek(&d->in), buf_length(&d->in)))
            break;
        /* It said something: what comes next must be the answer to that, and be it later. */
        bool spoke = buf_length(&d->out) != said;
        if (d->state == DIALOGUE_MORE && spoke && !buf_empty(&d->in))
            out_of_turn(d);
    }
    if (d->state == DIALOGUE_CONSUMER && !buf_empty(&d->in))
        out_of_turn(d);
    if (d->state == DIALOGUE_DONE && !d->row->proxy && !buf_empty(&d->in))
        dialogue_fail(d, DIALOGUE_FAULT_INJECTED, injection_remedy,
                      "the server sent %zu bytes after its word to begin TLS and before TLS",
                      buf_length(&d->in));
    if (d->state == DIALOGUE_MORE && buf_length(&d->in) > d->row->unit_max)
        dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, NULL,
                      "%s sent more than %zu bytes of %s that have no end%s", d->row->peer,
                      d->row->unit_max, d->row->word,
                      dialogue_guess(buf_peek(&d->in), buf_length(&d->in)));
}

void dialogue_feed(struct dialogue *d, const void *bytes, size_t length)
{
    if (d->state == DIALOGUE_FAILED || length == 0)
        return;
    if (!buf_append(&d->in, bytes, length))
        no_memory(d);
    else if (!d->row->proxy && !buf_empty(&d->out))
        out_of_turn(d); /* behind a proxy's answer: the question has not left yet */
    else
        run(d);
}

void dialogue_consumer(struct dialogue *d, const void *bytes, size_t length)
{
    if (d->state != DIALOGUE_CONSUMER || length == 0)
        return;
    d->heard_consumer += length;
    if (d->heard_consumer > CONSUMER_MAX)
        dialogue_fail(d, DIALOGUE_FAULT_BY_CONSUMER, NULL,
                      "the consumer said more than %zu KiB before it logged in",
                      CONSUMER_MAX / 1024);
    else if (!buf_append(&d->held, bytes, length))
        no_memory(d);
    else
        d->row->consumer(d);
}

void dialogue_ended(struct dialogue *d)
{
    if (d->state == DIALOGUE_DONE || d->state == DIALOGUE_FAILED)
        return;
    size_t heard = d->heard + buf_length(&d->in);
    if (heard == 0)
        dialogue_fail(d, DIALOGUE_FAULT_CUT, NULL, "%s closed the connection without a word of %s",
                      d->row->peer, d->row->word);
    else
        dialogue_fail(d, DIALOGUE_FAULT_CUT, NULL,
                      "%s closed the connection in the middle of the dialogue (%s)%s", d->row->peer,
                      d->row->word, dialogue_guess(buf_peek(&d->in), buf_length(&d->in)));
}

struct buf *dialogue_rest(struct dialogue *d)
{
    return &d->in;
}
