#include "wire.h"

#include <stdbool.h>

/* RFC 1035, sections 4.1.1 to 4.1.3: a header, questions, answers. */
#define HEADER_SIZE   12
#define QUESTION_SIZE 4  /* behind its name */
#define RECORD_SIZE   10 /* behind its name, before its data */

struct message {
    const unsigned char *bytes;
    size_t length, at;
};

static unsigned get16(const unsigned char *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static bool skip(struct message *m, size_t count)
{
    if (count > m->length - m->at)
        return false;
    m->at += count;
    return true;
}

/* Labels, up to an empty one or a pointer, which ends a name: section 4.1.4. What a pointer points
 * to does not matter here. */
static bool skip_name(struct message *m)
{
    while (m->at < m->length) {
        unsigned char label = m->bytes[m->at];
        if ((label & 0xc0) == 0xc0)
            return skip(m, 2);
        if ((label & 0xc0) != 0)
            return false;
        if (!skip(m, 1 + (size_t)label))
            return false;
        if (label == 0)
            return true;
    }
    return false;
}

int64_t wire_least_ttl(const unsigned char *message, size_t length)
{
    struct message m = {.bytes = message, .length = length};
    int64_t least = INT32_MAX;
    if (!skip(&m, HEADER_SIZE))
        return -1;
    const unsigned questions = get16(message + 4), answers = get16(message + 6);
    for (unsigned i = 0; i < questions; i++) {
        if (!skip_name(&m) || !skip(&m, QUESTION_SIZE))
            return -1;
    }
    for (unsigned i = 0; i < answers; i++) {
        if (!skip_name(&m) || !skip(&m, RECORD_SIZE))
            return -1;
        const unsigned char *fixed = message + m.at - RECORD_SIZE;
        int64_t ttl = (int64_t)get16(fixed + 4) << 16 | get16(fixed + 6);
        least = ttl < least ? ttl : least;
        if (!skip(&m, get16(fixed + 8)))
            return -1;
    }
    return least;
}
