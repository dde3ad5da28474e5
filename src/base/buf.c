#include <esclusa/buf.h>

#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_CAPACITY 4096

void buf_init(struct buf *b)
{
    *b = (struct buf){NULL, 0, 0, 0};
}

void buf_fini(struct buf *b)
{
    free(b->data);
    buf_init(b);
}

/* Moves what waits to new, larger memory. Doubling keeps the copying linear in what passes. */
static bool grow(struct buf *b, size_t needed)
{
    size_t capacity = b->capacity < BUF_FIRST_CAPACITY ? BUF_FIRST_CAPACITY : b->capacity;
    while (capacity < needed)
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;

    uint8_t *data = malloc(capacity);
    if (data == NULL)
        return false;
    size_t waiting = buf_length(b);
    if (waiting > 0)
        memcpy(data, b->data + b->start, waiting);
    free(b->data);
    *b = (struct buf){data, 0, waiting, capacity};
    return true;
}

bool buf_append(struct buf *b, const void *bytes, size_t length)
{
    if (length == 0)
        return true;
    size_t waiting = buf_length(b);
    if (length > SIZE_MAX - waiting)
        return false;
    if (length > b->capacity - b->end) {
        /* Sliding to the front costs no memory, and no more copying than was consumed. */
        if (waiting + length <= b->capacity && b->start >= waiting) {
            memmove(b->data, b->data + b->start, waiting);
            b->start = 0;
            b->end = waiting;
        } else if (!grow(b, waiting + length)) {
            return false;
        }
    }
    memcpy(b->data + b->end, bytes, length);
    b->end += length;
    return true;
}

void buf_consume(struct buf *b, size_t length)
{
    if (length >= buf_length(b))
        buf_fini(b);
    else
        b->start += length;
}
