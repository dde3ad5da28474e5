#include "model.h"

#include <stdio.h>

/* A backslash stays as it is: the gateway has escaped what peers sent, and twice would be
 * unreadable. */
void view_clean(char *dst, size_t size, const char *src, size_t length)
{
    size_t at = 0;
    for (size_t i = 0; i < length && at + 1 < size; i++) {
        const unsigned char c = (unsigned char)src[i];
        if (c >= 0x20 && c < 0x7f) {
            dst[at++] = (char)c;
            continue;
        }
        if (at + 5 > size)
            break;
        (void)snprintf(dst + at, 5, "\\x%02x", c);
        at += 4;
    }
    dst[at] = '\0';
}
