#include <esclusa/dialogue.h>

enum { LENGTH = 3, OK_PACKET = 0x00, ERROR_PACKET = 0xff };

/* One byte of a head; true: the head is whole now. */
static bool take_head(struct mysql_shift *s, uint8_t byte)
{
    s->head[s->head_length++] = byte;
    if (s->head_length < sizeof s->head)
        return false;
    s->head_length = 0;
    s->body = (size_t)s->head[0] | (size_t)s->head[1] << 8 | (size_t)s->head[2] << 16;
    s->first = s->body > 0;
    return true;
}

/* Leaves out the bytes of a body from the at-th on. */
static size_t skip_body(struct mysql_shift *s, size_t at, size_t length)
{
    size_t n = s->body < length - at ? s->body : length - at;
    s->body -= n;
    return at + n;
}

void mysql_shift_consumer(struct mysql_shift *s, uint8_t *bytes, size_t length)
{
    size_t at = 0;
    while (at < length && !s->over) {
        if (s->body > 0) {
            at = skip_body(s, at, length);
            continue;
        }
        bool number = s->head_length == LENGTH;
        (void)take_head(s, bytes[at]);
        if (number && bytes[at] == 0) /* a command: it counts from anew */
            s->over = true;
        else if (number)
            bytes[at]++;
        at++;
    }
}

void mysql_shift_server(struct mysql_shift *s, uint8_t *bytes, size_t length)
{
    size_t at = 0;
    while (at < length && !s->over) {
        if (s->body > 0) {
            if (s->first && (bytes[at] == OK_PACKET || bytes[at] == ERROR_PACKET))
                s->over = true; /* logged in, or not */
            s->first = false;
            at = skip_body(s, at, length);
            continue;
        }
        if (take_head(s, bytes[at]))
            bytes[at]--;
        at++;
    }
}
