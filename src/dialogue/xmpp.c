/* XMPP of a client (RFC 6120 4.2, 5.4): a stream of our own up to <proceed/>; under TLS the
 * consumer begins another. Of XML what RFC 6120 11 leaves of it: no comments, instructions, DTDs.
 */
#include "dialogue_internal.h"

#include <stdio.h>
#include <string.h>

#define TAG_MAX   4096
#define CHILD_MAX 256

enum { STREAM, FEATURES, IN_FEATURES, GO };

struct tag {
    const char *name; /* without prefix */
    size_t name_length;
    const char *text; /* from '<' to '>' */
    size_t length;
    bool closes, is_empty; /* </x>, <x/> */
};

static const char tls_namespace[] = "urn:ietf:params:xml:ns:xmpp-tls";

static void begin(struct dialogue *d, const struct dialogue_order *order)
{
    char text[512];
    (void)snprintf(text, sizeof text,
                   "<?xml version='1.0'?><stream:stream to='%s' version='1.0' "
                   "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
                   order->host);
    dialogue_say_text(d, text);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void not_xmpp(struct dialogue *d)
{
    dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, "check that the port is XMPP's for clients",
                  "the server's answer is not of XMPP%s",
                  dialogue_guess(buf_peek(&d->in), buf_length(&d->in)));
}

/* Where the tag ends that begins at text[0]; 0: not yet. A '>' within quotes is none. */
static size_t tag_length(const char *text, size_t length)
{
    char quote = '\0';
    for (size_t i = 1; i < length; i++) {
        if (quote != '\0' && text[i] == quote)
            quote = '\0';
        else if (quote != '\0')
            continue;
        else if (text[i] == '\'' || text[i] == '"')
            quote = text[i];
        else if (text[i] == '>')
            return i + 1;
    }
    return 0;
}

static bool parse_tag(struct tag *t, const char *text, size_t length)
{
    const char *at = text + 1, *end = text + length - 1;
    *t = (struct tag){.text = text, .length = length};
    if (at < end && *at == '/') {
        t->closes = true;
        at++;
    }
    t->is_empty = !t->closes && end > at && end[-1] == '/';
    t->name = at;
    while (at < end && !is_space(*at) && *at != '/') {
        if (*at == ':')
            t->name = at + 1;
        at++;
    }
    t->name_length = (size_t)(at - t->name);
    return t->name_length > 0 && memchr(text, '\0', length) == NULL;
}

static bool named(const struct tag *t, const char *name)
{
    return t->name_length == strlen(name) && memcmp(t->name, name, t->name_length) == 0;
}

static bool about_tls(const struct tag *t)
{
    return memmem(t->text, t->length, tls_namespace, sizeof tls_namespace - 1) != NULL;
}

static void no_tls(struct dialogue *d, const char *what)
{
    dialogue_fail(d, DIALOGUE_FAULT_NO_TLS, dialogue_no_tls_remedy, "%s", what);
}

/* ---- what may come when ---- */

static void at_stream(struct dialogue *d, const struct tag *t)
{
    if (!named(t, "stream") || t->closes || t->is_empty)
        not_xmpp(d);
    else
        d->stage = FEATURES;
}

static void at_features(struct dialogue *d, const struct tag *t)
{
    if (!named(t, "features") || t->closes)
        not_xmpp(d);
    else if (t->is_empty)
        no_tls(d, "the server does not offer <starttls/>");
    else
        d->stage = IN_FEATURES;
}

/* depth counts the elements open within <features>. */
static void in_features(struct dialogue *d, const struct tag *t)
{
    if (d->depth == 0 && t->closes) {
        if (!named(t, "features")) {
            not_xmpp(d);
        } else if (!d->offers) {
            no_tls(d, "the server does not offer <starttls/>");
        } else {
            d->stage = GO;
            dialogue_say_text(d, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        }
        return;
    }
    if (d->depth == 0 && named(t, "starttls") && about_tls(t))
        d->offers = true;
    if (t->closes)
        d->depth--;
    else if (!t->is_empty)
        d->depth++;
}

static void at_go(struct dialogue *d, const struct tag *t)
{
    bool proceeds = named(t, "proceed");
    bool opens = d->depth == 0 && !t->closes && proceeds && about_tls(t);
    if ((opens && t->is_empty) || (d->depth == 1 && t->closes && proceeds))
        dialogue_done(d);
    else if (opens) /* <proceed ...></proceed> */
        d->depth = 1;
    else if (d->depth == 0 && named(t, "failure") && about_tls(t))
        no_tls(d, "the server refused to begin TLS (<failure/>)");
    else
        not_xmpp(d);
}

static void take_tag(struct dialogue *d, const struct tag *t)
{
    if (++d->count > CHILD_MAX)
        not_xmpp(d);
    else if (d->stage != STREAM && d->depth == 0 && named(t, "error") && !t->closes)
        dialogue_fail(d, DIALOGUE_FAULT_UNREACHABLE,
                      "check that the server hosts this domain (server_name, or the host of the "
                      "upstream)",
                      "the server refused the stream (<stream:error>)");
    else if (d->stage == STREAM)
        at_stream(d, t);
    else if (d->stage == FEATURES)
        at_features(d, t);
    else if (d->stage == IN_FEATURES)
        in_features(d, t);
    else
        at_go(d, t);
}

/* ---- the stream in units: a run of text, a declaration, a tag ---- */

/* Text matters nowhere; outside of <features> there is none but space. */
static size_t text_length(struct dialogue *d, const char *text, size_t length)
{
    size_t n = 0;
    while (n < length && text[n] != '<') {
        if (!is_space(text[n]) && (d->stage != IN_FEATURES || d->depth == 0)) {
            not_xmpp(d);
            return 0;
        }
        n++;
    }
    return n;
}

static bool step(struct dialogue *d, const uint8_t *in, size_t length)
{
    const char *text = (const char *)in;
    size_t n = text_length(d, text, length);
    if (n > 0 && d->state == DIALOGUE_MORE) {
        dialogue_take(d, n);
        return d->state == DIALOGUE_MORE;
    }
    if (d->state != DIALOGUE_MORE || length < 2)
        return false;
    bool declaration = d->stage == STREAM && d->count == 0 && text[1] == '?';
    if (text[1] == '!' || (text[1] == '?' && !declaration)) {
        not_xmpp(d);
        return false;
    }
    n = tag_length(text, length);
    if (n == 0)
        return false;
    struct tag t = {0};
    if (declaration)
        d->count++;
    else if (parse_tag(&t, text, n))
        take_tag(d, &t);
    else
        not_xmpp(d);
    if (d->state != DIALOGUE_FAILED)
        dialogue_take(d, n);
    return d->state != DIALOGUE_FAILED;
}

const struct dialogue_row xmpp_row = {
    .word = "xmpp",
    .peer = "the server",
    .unit_max = TAG_MAX,
    .begin = begin,
    .step = step,
};
