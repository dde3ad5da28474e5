/* SOCKS5 (RFC 1928), with user and password (RFC 1929). A name is resolved by the proxy. */
#include "dialogue_internal.h"

#include <arpa/inet.h>
#include <string.h>

enum { METHOD, PASSWORD, REPLY };

enum {
    VERSION = 5,
    NO_AUTHENTICATION = 0,
    USER_PASSWORD = 2,
    NO_ACCEPTABLE = 0xff,
    CONNECT = 1,
    IPV4 = 1,
    NAME = 3,
    IPV6 = 4
};

/* Its length before it. */
static size_t put_text(uint8_t *at, const char *text)
{
    size_t length = strlen(text);
    at[0] = (uint8_t)length;
    for (size_t i = 0; i < length; i++)
        at[1 + i] = (uint8_t)text[i];
    return 1 + length;
}

/* The later messages are made at the beginning and wait in d->held, so that what the order pointed
 * to need not be kept: the request first, then user and password. */
static size_t put_request(uint8_t *at, const struct dialogue_order *order)
{
    size_t length = 0;
    at[length++] = VERSION;
    at[length++] = CONNECT;
    at[length++] = 0;
    if (inet_pton(AF_INET, order->host, at + 4) == 1) {
        at[length] = IPV4;
        length += 1 + 4;
    } else if (inet_pton(AF_INET6, order->host, at + 4) == 1) {
        at[length] = IPV6;
        length += 1 + 16;
    } else {
        at[length++] = NAME;
        length += put_text(at + length, order->host); /* at most 255: dialogue_create() */
    }
    at[length++] = (uint8_t)(order->port >> 8);
    at[length++] = (uint8_t)(order->port & 0xff);
    return length;
}

static size_t put_password(uint8_t *at, const char *user, const char *password)
{
    at[0] = 1;
    size_t length = 1 + put_text(at + 1, user);
    return length + put_text(at + length, password);
}

static void begin(struct dialogue *d, const struct dialogue_order *order)
{
    static const uint8_t open[] = {VERSION, 1, NO_AUTHENTICATION};
    static const uint8_t closed[] = {VERSION, 2, NO_AUTHENTICATION, USER_PASSWORD};
    uint8_t message[3 + 255 + 255];
    size_t user = d->has_credentials ? strlen(order->user) : 1;
    size_t password = d->has_credentials ? strlen(order->password) : 1;
    if (user < 1 || user > 255 || password < 1 || password > 255) {
        dialogue_fail(d, DIALOGUE_FAULT_WORDS, "SOCKS5 takes 1 to 255 bytes of each",
                      "the proxy's user or password cannot be sent");
        return;
    }
    size_t length = put_request(message, order);
    d->count = (unsigned)length;
    bool kept = buf_append(&d->held, message, length);
    if (kept && d->has_credentials) {
        length = put_password(message, order->user, order->password);
        kept = buf_append(&d->held, message, length);
    }
    explicit_bzero(message, sizeof message);
    if (!kept)
        dialogue_fail(d, DIALOGUE_FAULT_MEMORY, NULL, "no memory for the request to the proxy");
    else if (d->has_credentials)
        dialogue_say(d, closed, sizeof closed);
    else
        dialogue_say(d, open, sizeof open);
}

static void say_request(struct dialogue *d)
{
    d->stage = REPLY;
    dialogue_say(d, buf_peek(&d->held), d->count);
    explicit_bzero(d->held.data, d->held.capacity);
    buf_fini(&d->held);
}

static void wrong(struct dialogue *d, const uint8_t *in)
{
    dialogue_fail(d, DIALOGUE_FAULT_GARBAGE,
                  "check that the proxy's port speaks SOCKS5 (http:// if it is an HTTP proxy)",
                  "the proxy's answer is not SOCKS5%s",
                  in[0] == 0 ? "; it seems to speak SOCKS4"
                             : dialogue_guess(in, buf_length(&d->in)));
}

static bool take_method(struct dialogue *d, const uint8_t *in)
{
    uint8_t method = in[1];
    if (method == NO_ACCEPTABLE) {
        dialogue_fail(d, DIALOGUE_FAULT_DENIED,
                      d->has_credentials
                          ? "let the proxy take a user and password, or none (RFC 1929)"
                          : "the proxy wants credentials: proxy_credentials",
                      "the proxy takes none of the ways to log in that were offered");
    } else if (method == USER_PASSWORD && d->has_credentials) {
        dialogue_take(d, 2);
        d->stage = PASSWORD;
        dialogue_say(d, buf_peek(&d->held) + d->count, buf_length(&d->held) - d->count);
    } else if (method == NO_AUTHENTICATION) {
        dialogue_take(d, 2);
        say_request(d);
    } else {
        dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, NULL,
                      "the proxy chose a way to log in (%u) that was not offered", method);
    }
    return d->state == DIALOGUE_MORE;
}

static bool take_password(struct dialogue *d, const uint8_t *in)
{
    if (in[1] != 0) {
        dialogue_fail(d, DIALOGUE_FAULT_DENIED,
                      "check user and password in the file of proxy_credentials",
                      "the proxy refused the user and password");
        return false;
    }
    dialogue_take(d, 2);
    say_request(d);
    return true;
}

static void refused(struct dialogue *d, uint8_t code)
{
    static const struct {
        const char *text;
        enum dialogue_fault fault;
        const char *remedy;
    } known[] = {
        [1] = {"it failed there (general failure)", DIALOGUE_FAULT_UNREACHABLE,
               "look at the proxy's log: many say so when a name does not resolve"},
        [2] = {"its rules do not allow this connection", DIALOGUE_FAULT_DENIED,
               "let the proxy's rules allow this host and port"},
        [3] = {"the network is unreachable from there", DIALOGUE_FAULT_UNREACHABLE,
               "check what the proxy can reach"},
        [4] = {"the host is unreachable from there", DIALOGUE_FAULT_UNREACHABLE,
               "check the name, and what the proxy can reach"},
        [5] = {"the upstream refused its connection", DIALOGUE_FAULT_UNREACHABLE,
               "check that the upstream listens on this port"},
        [6] = {"its packets expired on the way (TTL)", DIALOGUE_FAULT_UNREACHABLE,
               "check the routes behind the proxy"},
        [7] = {"it does not know the command CONNECT", DIALOGUE_FAULT_DENIED,
               "let the proxy allow CONNECT"},
        [8] = {"it does not know this kind of address", DIALOGUE_FAULT_DENIED,
               "write the upstream as a name, or as an IPv4 address"},
    };
    if (code < sizeof known / sizeof known[0])
        dialogue_fail(d, known[code].fault, known[code].remedy, "the proxy refused: %s (%u)",
                      known[code].text, code);
    else
        dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, NULL,
                      "the proxy refused with a code that RFC 1928 does not have (%u)", code);
}

/* The bound address is of no use, but where it ends the tunnel begins. */
static bool take_reply(struct dialogue *d, const uint8_t *in, size_t have)
{
    if (in[1] != 0) { /* the rest of a refusal may never come */
        refused(d, in[1]);
        return false;
    }
    if (have < 5)
        return false;
    size_t address;
    switch (in[3]) {
    case IPV4:
        address = 4;
        break;
    case NAME:
        address = 1 + (size_t)in[4];
        break;
    case IPV6:
        address = 16;
        break;
    default:
        dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, NULL,
                      "the proxy's answer has an unknown kind of address (%u)", in[3]);
        return false;
    }
    if (have < 4 + address + 2)
        return false;
    dialogue_take(d, 4 + address + 2);
    dialogue_done(d);
    return true;
}

static bool step(struct dialogue *d, const uint8_t *in, size_t have)
{
    if (in[0] != (d->stage == PASSWORD ? 1 : VERSION)) {
        wrong(d, in);
        return false;
    }
    if (have < 2)
        return false;
    if (d->stage == METHOD)
        return take_method(d, in);
    if (d->stage == PASSWORD)
        return take_password(d, in);
    return take_reply(d, in, have);
}

const struct dialogue_row socks5_row = {
    .word = "socks5",
    .peer = "the proxy",
    .proxy = true,
    .unit_max = 4 + 1 + 255 + 2,
    .begin = begin,
    .step = step,
};
