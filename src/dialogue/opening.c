#include <esclusa/dialogue.h>

#include <string.h>

#define ASKED_MAX 2 /* each of both once, as libpq does */

static bool may_be_question(const struct opening *o)
{
    static const uint8_t ssl[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
    static const uint8_t gss[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30};
    return memcmp(o->held, ssl, o->length) == 0 || memcmp(o->held, gss, o->length) == 0;
}

bool opening_feed(struct opening *o, const uint8_t *bytes, size_t length, size_t *take_r,
                  unsigned *answers_r)
{
    size_t at = 0;
    *answers_r = 0;
    while (o->asked < ASKED_MAX && at < length) {
        o->held[o->length++] = bytes[at++];
        if (!may_be_question(o)) { /* what cannot be one any more is not held back */
            *take_r = at;
            return true;
        }
        if (o->length == sizeof o->held) {
            o->length = 0;
            o->asked++;
            ++*answers_r;
        }
    }
    *take_r = at;
    return o->asked == ASKED_MAX && o->length == 0;
}
