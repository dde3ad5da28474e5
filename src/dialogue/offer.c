#include <esclusa/dialogue.h>

#include <string.h>

enum { HEAD = 5 /* type, length */, CODE_END = 9, AUTHENTICATION_SASL = 10 };

static size_t number(const uint8_t *at)
{
    return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

/* A mechanism that binds to TLS: RFC 5802 4. */
static bool is_plus(const uint8_t *name, size_t length)
{
    return length > 5 && memcmp(name + length - 5, "-PLUS", 5) == 0;
}

/* The message [at, at + whole) of o->held, whose list of names begins after its code. */
static void strike_out(struct offer *o, size_t at, size_t whole)
{
    uint8_t *message = o->held + at, kept[sizeof o->held];
    size_t length = 0;
    for (size_t from = CODE_END; from < whole;) {
        const uint8_t *end = memchr(message + from, '\0', whole - from);
        if (end == NULL)
            return; /* no list: the consumer will say so */
        size_t n = (size_t)(end - message) - from;
        if (!is_plus(message + from, n)) {
            memcpy(kept + length, message + from, n + 1);
            length += n + 1;
        }
        from += n + 1;
    }
    if (length <= 1)
        return; /* nothing else is offered: the consumer will say so */
    size_t gone = whole - CODE_END - length;
    memcpy(message + CODE_END, kept, length);
    memmove(message + CODE_END + length, message + whole, o->length - at - whole);
    o->length -= gone;
    message[3] = (uint8_t)((whole - 1 - gone) >> 8);
    message[4] = (uint8_t)((whole - 1 - gone) & 0xff);
}

/* True: it is known what the server asks for. */
static bool look(struct offer *o)
{
    size_t at = 0;
    for (;;) {
        const uint8_t *message = o->held + at;
        size_t have = o->length - at;
        if (have == 0)
            return false;
        if (message[0] != 'R' && message[0] != 'N' && message[0] != 'v')
            return true;
        if (have < HEAD)
            return false;
        size_t whole = 1 + number(message + 1);
        if (whole < HEAD || whole > sizeof o->held - at)
            return true;
        if (message[0] == 'R' && have >= CODE_END &&
            (whole < CODE_END || number(message + HEAD) != AUTHENTICATION_SASL))
            return true;
        if (have < whole)
            return false;
        if (message[0] == 'R') {
            if (whole >= CODE_END)
                strike_out(o, at, whole);
            return true;
        }
        at += whole;
    }
}

bool offer_feed(struct offer *o, const uint8_t *bytes, size_t length, size_t *take_r)
{
    for (*take_r = 0; *take_r < length;) {
        o->held[o->length++] = bytes[(*take_r)++];
        if (look(o) || o->length == sizeof o->held)
            return true;
    }
    return false;
}
