/* MySQL and MariaDB. The server speaks first; TLS is asked for with the first 32 bytes of a login
 * (SSLRequest), and the server takes the capabilities from there and never again. They are the
 * consumer's, so it must have spoken first: it gets the server's greeting without TLS among its
 * capabilities, and answers; of that answer the server sees before TLS what it would see of any
 * client (capabilities, packet size, character set) and the rest, numbered one higher, under TLS.
 */
#include "dialogue_internal.h"

#include <string.h>

enum {
    HEAD = 4,               /* length (3, little endian), sequence number */
    GREETING_MAX = 4096,    /* a version, a challenge, the name of a plugin */
    RESPONSE_FIXED = 32,    /* capabilities, packet size, character set, reserved */
    CAPABILITY_41 = 0x0200, /* protocol 4.1 */
    CAPABILITY_SSL = 0x0800,
    PROTOCOL = 10,
    ERROR_PACKET = 0xff
};

static size_t body_length(const uint8_t *head)
{
    return (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16;
}

static void not_mysql(struct dialogue *d)
{
    dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, "check that this port is MySQL's or MariaDB's",
                  "the server's greeting is not MySQL's%s",
                  dialogue_guess(buf_peek(&d->in), buf_length(&d->in)));
}

/* "Too many connections", "Host ... is not allowed": number, text. */
static void server_error(struct dialogue *d, const uint8_t *body, size_t length)
{
    unsigned number = length >= 3 ? (unsigned)body[1] | (unsigned)body[2] << 8 : 0;
    size_t skip = length >= 9 && body[3] == '#' ? 9 : 3; /* an SQL state may come first */
    dialogue_note(d, body + (length > skip ? skip : length), length > skip ? length - skip : 0);
    dialogue_fail(d, DIALOGUE_FAULT_UNREACHABLE, "look at the server's log",
                  "the server refused the connection: error %u, %s", number, d->note);
}

/* Where the lower half of the capabilities is: behind the version, a number and a challenge. */
static size_t capabilities_at(const uint8_t *body, size_t length)
{
    const uint8_t *end = memchr(body, '\0', length);
    return end == NULL ? length : (size_t)(end - body) + 1 + 4 + 8 + 1;
}

static void take_greeting(struct dialogue *d, const uint8_t *in, size_t whole)
{
    const uint8_t *body = in + HEAD;
    size_t length = whole - HEAD;
    if (body[0] == ERROR_PACKET) {
        server_error(d, body, length);
        return;
    }
    size_t at = capabilities_at(body, length);
    if (body[0] != PROTOCOL || at + 2 > length) {
        not_mysql(d);
        return;
    }
    unsigned capabilities = (unsigned)body[at] | (unsigned)body[at + 1] << 8;
    if (!(capabilities & CAPABILITY_SSL)) {
        dialogue_fail(d, DIALOGUE_FAULT_NO_TLS,
                      "give the server a certificate (ssl_cert, ssl_key); without it nothing is "
                      "sent there",
                      "the server does not offer TLS");
        return;
    }
    dialogue_early(d, in, whole);
    if (d->state == DIALOGUE_MORE) {
        d->early.data[d->early.start + HEAD + at + 1] &= (uint8_t) ~(CAPABILITY_SSL >> 8);
        dialogue_take(d, whole);
        d->state = DIALOGUE_CONSUMER;
    }
}

static bool step(struct dialogue *d, const uint8_t *in, size_t have)
{
    if (have < HEAD)
        return false;
    size_t length = body_length(in);
    if (length == 0 || length > GREETING_MAX || in[3] != 0) {
        not_mysql(d);
        return false;
    }
    if (have < HEAD + length)
        return false;
    take_greeting(d, in, HEAD + length);
    return d->state != DIALOGUE_FAILED;
}

static void by_consumer(struct dialogue *d, const char *remedy, const char *what)
{
    dialogue_fail(d, DIALOGUE_FAULT_BY_CONSUMER, remedy, "%s", what);
}

/* The consumer's login is whole: asks for TLS with its head. */
static void ask(struct dialogue *d, uint8_t *packet)
{
    uint8_t request[HEAD + RESPONSE_FIXED] = {RESPONSE_FIXED, 0, 0, 1};
    packet[HEAD + 1] |= CAPABILITY_SSL >> 8;
    memcpy(request + HEAD, packet + HEAD, RESPONSE_FIXED);
    dialogue_say(d, request, sizeof request);
    if (d->state != DIALOGUE_FAILED)
        dialogue_done(d);
}

static void consumer(struct dialogue *d)
{
    uint8_t *packet = d->held.data + d->held.start;
    size_t have = buf_length(&d->held);
    if (have < HEAD)
        return;
    size_t length = body_length(packet);
    if (packet[3] != 1 || length < 2 || length > DIALOGUE_TOTAL_MAX + RESPONSE_FIXED) {
        by_consumer(d, "check that the consumer is a MySQL client",
                    "what the consumer sent is no MySQL login");
        return;
    }
    if (have < HEAD + 2)
        return;
    unsigned capabilities = (unsigned)packet[HEAD] | (unsigned)packet[HEAD + 1] << 8;
    if (capabilities & CAPABILITY_SSL)
        by_consumer(d,
                    "the gateway does TLS: turn it off in the consumer (ssl-mode=DISABLED, "
                    "--skip-ssl)",
                    "the consumer asks for TLS itself");
    else if (!(capabilities & CAPABILITY_41) || length < RESPONSE_FIXED)
        by_consumer(d, "use a client of MySQL 4.1 or later",
                    "the consumer speaks the protocol of before MySQL 4.1");
    else if (have >= HEAD + length)
        ask(d, packet);
}

const struct dialogue_row mysql_row = {
    .word = "mysql",
    .peer = "the server",
    .unit_max = HEAD + GREETING_MAX,
    .step = step,
    .consumer = consumer,
};
