/* buf: bytes that wait, first in first out. Owns memory only while it holds something: an empty
 * buffer costs no heap. One owner, one thread; nothing blocks. */
#ifndef ESCLUSA_BUF_H
#define ESCLUSA_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;
    size_t start; /* first waiting byte */
    size_t end;   /* one past the last */
    size_t capacity;
};

void buf_init(struct buf *b);
void buf_fini(struct buf *b); /* frees; the buffer is empty and usable afterwards */

static inline size_t buf_length(const struct buf *b)
{
    return b->end - b->start;
}
static inline bool buf_empty(const struct buf *b)
{
    return b->end == b->start;
}
/* The first waiting byte; NULL while the buffer is empty (an offset to NULL is undefined in C). */
static inline const uint8_t *buf_peek(const struct buf *b)
{
    return b->data == NULL ? NULL : b->data + b->start;
}

/* Copies bytes behind what waits. False: no memory, and nothing was taken. */
bool buf_append(struct buf *b, const void *bytes, size_t length)
    __attribute__((warn_unused_result));

/* Drops bytes from the front; frees the memory when that empties the buffer. */
void buf_consume(struct buf *b, size_t length);

#endif
