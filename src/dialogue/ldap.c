/* LDAP's StartTLS (RFC 4511 4.14): an extended request, an extended response, in BER with definite
 * lengths (5.1). */
#include "dialogue_internal.h"

#include <string.h>

#define MESSAGE_MAX 8192

enum {
    SEQUENCE = 0x30,
    INTEGER = 0x02,
    ENUMERATED = 0x0a,
    OCTETS = 0x04,
    EXTENDED_RESPONSE = 0x78,
    MESSAGE_ID = 1
};

enum ber { BER_OK, BER_MORE, BER_BAD };

struct span {
    const uint8_t *at;
    size_t length;
};

/* Takes one element with that tag off the front of *in. BER_MORE: it goes beyond *in. */
static enum ber take(struct span *in, uint8_t tag, struct span *body)
{
    if (in->length < 1)
        return BER_MORE;
    if (in->at[0] != tag)
        return BER_BAD;
    if (in->length < 2)
        return BER_MORE;
    size_t head = 2, length = in->at[1];
    if (length > 0x80 + 4 || length == 0x80)
        return BER_BAD;
    if (length > 0x80) {
        head += length - 0x80;
        if (in->length < head)
            return BER_MORE;
        length = 0;
        for (size_t i = 2; i < head; i++)
            length = length << 8 | in->at[i];
    }
    if (length > MESSAGE_MAX)
        return BER_BAD;
    if (in->length - head < length)
        return BER_MORE;
    *body = (struct span){in->at + head, length};
    in->at += head + length;
    in->length -= head + length;
    return BER_OK;
}

/* A small non-negative number. */
static bool take_number(struct span *in, uint8_t tag, unsigned *value_r)
{
    struct span body;
    if (take(in, tag, &body) != BER_OK || body.length < 1 || body.length > 4 || body.at[0] >= 0x80)
        return false;
    *value_r = 0;
    for (size_t i = 0; i < body.length; i++)
        *value_r = *value_r << 8 | body.at[i];
    return true;
}

static void begin(struct dialogue *d, const struct dialogue_order *order)
{
    static const uint8_t request[] = "\x30\x1d\x02\x01\x01\x77\x18\x80\x16"
                                     "1.3.6.1.4.1.1466.20037";
    (void)order;
    dialogue_say(d, request, sizeof request - 1);
}

static void answered(struct dialogue *d, unsigned id, unsigned code, const struct span *text)
{
    dialogue_note(d, text->at, text->length);
    const char *colon = text->length > 0 ? ": " : "";
    if (id == MESSAGE_ID && code == 0)
        return;
    if (id == 0) /* a notice of disconnection: RFC 4511 4.4.1 */
        dialogue_fail(d, DIALOGUE_FAULT_UNREACHABLE, "look at the server's log",
                      "the server ends the connection (result %u)%s%s", code, colon, d->note);
    else if (id != MESSAGE_ID)
        dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, NULL,
                      "the server answered a message (%u) that was not sent", id);
    else if (code == 51 || code == 52) /* busy, unavailable */
        dialogue_fail(d, DIALOGUE_FAULT_UNREACHABLE, "look at the server's log",
                      "the server cannot begin TLS now (result %u)%s%s", code, colon, d->note);
    else
        dialogue_fail(d, DIALOGUE_FAULT_NO_TLS, dialogue_no_tls_remedy,
                      "the server refused to begin TLS (result %u)%s%s", code, colon, d->note);
}

static bool take_message(struct span in, unsigned *id_r, unsigned *code_r, struct span *text_r)
{
    struct span response, matched;
    return take_number(&in, INTEGER, id_r) && take(&in, EXTENDED_RESPONSE, &response) == BER_OK &&
           take_number(&response, ENUMERATED, code_r) &&
           take(&response, OCTETS, &matched) == BER_OK && take(&response, OCTETS, text_r) == BER_OK;
}

static bool step(struct dialogue *d, const uint8_t *first, size_t have)
{
    struct span in = {first, have}, message, text;
    unsigned id = 0, code = 0;
    enum ber got = take(&in, SEQUENCE, &message);
    if (got == BER_MORE)
        return false;
    if (got == BER_BAD || !take_message(message, &id, &code, &text)) {
        dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, "check that the port is LDAP's",
                      "the server's answer is not of LDAP%s", dialogue_guess(first, have));
        return false;
    }
    answered(d, id, code, &text);
    if (d->state == DIALOGUE_FAILED)
        return false;
    dialogue_take(d, (size_t)(in.at - first));
    dialogue_done(d);
    return true;
}

const struct dialogue_row ldap_row = {
    .word = "ldap",
    .peer = "the server",
    .unit_max = MESSAGE_MAX + 6,
    .begin = begin,
    .step = step,
};
