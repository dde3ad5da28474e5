/* A plain stream socket: recv(2), send(2), shutdown(2). */
#include <esclusa/net.h>
#include <esclusa/transport.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

struct tp_plain {
    struct transport base;
    enum tp_status end; /* TP_OK while the peer's direction is open */
    bool shut;
    bool reset; /* a send, or connect's result, told so */
};

static struct tp_plain *plain_of(struct transport *t)
{
    return (struct tp_plain *)t;
}

static enum tp_status plain_handshake(struct transport *t)
{
    (void)t;
    return TP_OK;
}

static enum tp_status plain_read(struct transport *t, void *bytes, size_t size, size_t *length_r,
                                 bool *drained_r)
{
    struct tp_plain *p = plain_of(t);
    *length_r = 0;
    *drained_r = true;
    if (p->end != TP_OK)
        return p->end;

    ssize_t n;
    do {
        n = recv(t->fd, bytes, size, 0);
    } while (n < 0 && errno == EINTR);

    if (n > 0) {
        t->came += (size_t)n;
        *length_r = (size_t)n;
        *drained_r = (size_t)n < size;
        return TP_OK;
    }
    if (n == 0) {
        /* The kernel tells a reset once. Where a send was told, what follows looks like a FIN. */
        p->end = p->reset ? TP_ERROR : TP_EOF;
        if (p->reset)
            t->sys_errno = ECONNRESET;
        return p->end;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return TP_AGAIN;
    t->sys_errno = errno;
    p->end = TP_ERROR;
    return TP_ERROR;
}

static enum tp_status plain_write(struct transport *t, const void *bytes, size_t size,
                                  size_t *length_r)
{
    *length_r = 0;
    ssize_t n;
    do {
        n = send(t->fd, bytes, size, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);

    if (n > 0) {
        t->went += (size_t)n;
        *length_r = (size_t)n;
        return TP_OK;
    }
    if (n == 0 || errno == EAGAIN || errno == EWOULDBLOCK)
        return TP_AGAIN;
    t->sys_errno = errno;
    /* EPIPE: the peer had ended its direction cleanly before it reset ours (tcp(7), CLOSE_WAIT). */
    plain_of(t)->reset = errno != EPIPE;
    return TP_ERROR;
}

static enum tp_status plain_flush(struct transport *t)
{
    (void)t;
    return TP_OK;
}

static enum tp_status plain_shut_write(struct transport *t)
{
    struct tp_plain *p = plain_of(t);
    if (p->shut)
        return TP_OK;
    if (shutdown(t->fd, SHUT_WR) != 0) { /* ENOTCONN: the peer has reset it */
        t->sys_errno = errno;
        return TP_ERROR;
    }
    p->shut = true;
    return TP_OK;
}

static bool plain_has_buffered(const struct transport *t)
{
    (void)t;
    return false;
}

static bool plain_mid_record(const struct transport *t)
{
    (void)t; /* a plain stream has no records */
    return false;
}

static void plain_destroy(struct transport *t)
{
    if (t->fd >= 0)
        sock_close(t->fd);
    free(t);
}

static const struct transport_ops plain_ops = {
    .handshake = plain_handshake,
    .read = plain_read,
    .write = plain_write,
    .flush = plain_flush,
    .shut_write = plain_shut_write,
    .has_buffered = plain_has_buffered,
    .mid_record = plain_mid_record,
    .destroy = plain_destroy,
};

struct transport *transport_plain_create(int fd, bool reset)
{
    struct tp_plain *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->base = (struct transport){.ops = &plain_ops, .fd = fd};
    p->end = TP_OK;
    p->reset = reset;
    return &p->base;
}
