/* HTTP CONNECT (RFC 9110 9.3.6) over HTTP/1.1 (RFC 9112), credentials by Basic (RFC 7617). Of a
 * 2xx answer only the header section is the proxy's: what follows is the tunnel, whatever
 * Content-Length or Transfer-Encoding say. */
#include "dialogue_internal.h"

#include <esclusa/str.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERIM_MAX 8 /* 1xx answers that are waited through */

enum { STATUS_LINE, FIELDS };

/* ---- the request ---- */

static void base64(char *dst, const uint8_t *src, size_t length)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t v = (uint32_t)src[i] << 16;
        v |= left > 1 ? (uint32_t)src[i + 1] << 8 : 0;
        v |= left > 2 ? src[i + 2] : 0;
        *dst++ = digits[v >> 18];
        *dst++ = digits[v >> 12 & 63];
        *dst++ = digits[left > 1 ? v >> 6 & 63 : 64];
        *dst++ = digits[left > 2 ? v & 63 : 64];
    }
    *dst = '\0';
}

/* Builds the whole request in memory that is overwritten afterwards. */
static void say_request(struct dialogue *d, const struct dialogue_order *order, size_t plain_length)
{
    char target[300];
    bool literal6 = strchr(order->host, ':') != NULL;
    (void)snprintf(target, sizeof target, literal6 ? "[%s]:%u" : "%s:%u", order->host, order->port);

    size_t coded_size = plain_length / 3 * 4 + 5;
    size_t size = coded_size + plain_length + 1 + 2 * sizeof target + 128;
    char *memory = malloc(size);
    if (memory == NULL) {
        dialogue_fail(d, DIALOGUE_FAULT_MEMORY, NULL, "no memory for the request to the proxy");
        return;
    }
    char *coded = memory, *plain = memory + coded_size, *request = plain + plain_length + 1;
    size_t room = size - coded_size - plain_length - 1;
    (void)snprintf(request, room, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", target, target);
    dialogue_say_text(d, request);
    if (d->has_credentials) {
        (void)snprintf(plain, plain_length + 1, "%s:%s", order->user, order->password);
        base64(coded, (const uint8_t *)plain, plain_length);
        dialogue_say_text(d, "Proxy-Authorization: Basic ");
        dialogue_say_text(d, coded);
        dialogue_say_text(d, "\r\n");
    }
    dialogue_say_text(d, "\r\n");
    explicit_bzero(memory, size);
    free(memory);
}

static void begin(struct dialogue *d, const struct dialogue_order *order)
{
    size_t plain_length = 0;
    if (d->has_credentials) {
        size_t user = strlen(order->user), password = strlen(order->password);
        if (user > DIALOGUE_CREDENTIAL_MAX || password > DIALOGUE_CREDENTIAL_MAX ||
            strchr(order->user, ':') != NULL) {
            dialogue_fail(d, DIALOGUE_FAULT_WORDS,
                          "HTTP's Basic has no ':' in a user, and each part is at most 4096 bytes",
                          "the proxy's user or password cannot be sent");
            return;
        }
        plain_length = user + 1 + password;
    }
    say_request(d, order, plain_length);
}

/* ---- the answer ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void not_http(struct dialogue *d, const char *bytes, size_t length)
{
    dialogue_fail(d, DIALOGUE_FAULT_GARBAGE,
                  "check that the proxy's port speaks HTTP (https:// if it does so over TLS, "
                  "socks5:// if it is a SOCKS proxy)",
                  "the proxy's answer is not HTTP/1%s",
                  dialogue_guess((const uint8_t *)bytes, length));
}

/* "HTTP/1.1 200 Connection established": RFC 9112 4. */
static bool take_status(struct dialogue *d, const char *line, size_t length)
{
    static const char head[] = "HTTP/1.";
    if (length < 12 || memcmp(line, head, 7) != 0 || !is_digit(line[7]) || line[8] != ' ' ||
        line[9] < '1' || line[9] > '5' || !is_digit(line[10]) || !is_digit(line[11]) ||
        (length > 12 && line[12] != ' ')) {
        not_http(d, line, length);
        return false;
    }
    d->code = (unsigned)((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
    str_escape(d->note, sizeof d->note, line + 9, length - 9);
    d->offers = false;
    return true;
}

/* A field line. Of all of them one matters: which credentials would do. */
static bool take_field(struct dialogue *d, const char *line, size_t length)
{
    static const char wanted[] = "proxy-authenticate:";
    if (line[0] == ' ' || line[0] == '\t') /* a line that goes on: RFC 9112 5.2 */
        return true;
    const char *colon = memchr(line, ':', length);
    if (colon == NULL || colon == line) {
        dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, NULL,
                      "the proxy's answer has a header line without a name");
        return false;
    }
    if (dialogue_begins(line, length, wanted)) {
        const char *value = line + sizeof wanted - 1;
        size_t left = length - (sizeof wanted - 1);
        for (; left >= 5; value++, left--)
            d->offers = d->offers || dialogue_begins(value, left, "basic");
    }
    return true;
}

static void refused(struct dialogue *d)
{
    static const struct {
        unsigned code;
        enum dialogue_fault fault;
        const char *remedy;
    } known[] = {
        {400, DIALOGUE_FAULT_GARBAGE,
         "check that this is a forward proxy: it did not understand CONNECT"},
        {401, DIALOGUE_FAULT_DENIED, "check the proxy's rules for this host and port"},
        {403, DIALOGUE_FAULT_DENIED, "let the proxy's rules allow CONNECT to this host and port"},
        {404, DIALOGUE_FAULT_GARBAGE,
         "check that this is a forward proxy: it did not understand CONNECT"},
        {405, DIALOGUE_FAULT_DENIED, "let the proxy allow CONNECT"},
        {408, DIALOGUE_FAULT_UNREACHABLE, NULL},
        {429, DIALOGUE_FAULT_UNREACHABLE,
         "the proxy limits how often it is asked: see its settings"},
        {500, DIALOGUE_FAULT_UNREACHABLE, "look at the proxy's log"},
        {501, DIALOGUE_FAULT_DENIED, "check that this is a forward proxy that does CONNECT"},
        {502, DIALOGUE_FAULT_UNREACHABLE,
         "the proxy does not get through to the upstream: check the name and port, and what the "
         "proxy can reach"},
        {503, DIALOGUE_FAULT_UNREACHABLE,
         "the proxy does not get through to the upstream: check the name and port, and what the "
         "proxy can reach"},
        {504, DIALOGUE_FAULT_UNREACHABLE,
         "the proxy does not get through to the upstream in time: check the name and port, and "
         "what the proxy can reach"},
    };
    enum dialogue_fault fault = DIALOGUE_FAULT_DENIED;
    const char *remedy = "look at the proxy's log";
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].code == d->code) {
            fault = known[i].fault;
            remedy = known[i].remedy;
        }
    }
    if (d->code == 407 && !d->offers)
        remedy = "esclusa knows Basic credentials alone, which this proxy does not offer: let it "
                 "admit this host by its address";
    else if (d->code == 407)
        remedy = d->has_credentials ? "check user and password in the file of proxy_credentials"
                                    : "the proxy wants a user and a password: proxy_credentials";
    dialogue_fail(d, fault, remedy, "the proxy refused: %s", d->note);
}

static void answered(struct dialogue *d)
{
    if (d->code == 101 || (d->code < 200 && ++d->count > INTERIM_MAX))
        dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, NULL, "the proxy's answer makes no sense: %s",
                      d->note);
    else if (d->code < 200)
        d->stage = STATUS_LINE;
    else if (d->code < 300)
        dialogue_done(d);
    else
        refused(d);
}

static bool step(struct dialogue *d, const uint8_t *in, size_t have)
{
    static const char head[] = "HTTP/1.";
    size_t length = 0, whole = 0;
    size_t look = have < sizeof head - 1 ? have : sizeof head - 1;
    if (d->stage == STATUS_LINE && memcmp(in, head, look) != 0) {
        not_http(d, (const char *)in, have); /* no waiting for a line that may never end */
        return false;
    }
    const char *line = dialogue_line(d, &length, &whole);
    if (line == NULL)
        return false;
    bool good = true, end = false;
    if (d->stage == STATUS_LINE) {
        good = take_status(d, line, length);
        d->stage = FIELDS;
    } else if (length == 0) {
        end = true;
    } else {
        good = take_field(d, line, length);
    }
    if (!good)
        return false;
    dialogue_take(d, whole);
    if (end && d->state == DIALOGUE_MORE)
        answered(d);
    return d->state != DIALOGUE_FAILED;
}

const struct dialogue_row http_row = {
    .word = "http",
    .peer = "the proxy",
    .proxy = true,
    .unit_max = 8192,
    .begin = begin,
    .step = step,
};
