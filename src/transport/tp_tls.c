/* A TLS stream. OpenSSL talks to a BIO of ours that never touches the socket when writing and reads
 * it at most a few times an operation:
 *
 * - Out: records gather in the worker's scratch; one send(2) an operation takes them to the kernel.
 *   What the kernel does not take is copied to `held_out`, and nothing more is sealed before that
 * is gone. The BIO takes everything, so SSL_write() and SSL_shutdown() never want to be repeated
 *   with the same buffer.
 * - In: one recv(2) an operation fills the worker's scratch and every whole record in it is opened.
 *   What OpenSSL has not asked for when the operation ends (the caller's memory was full, or the
 * handshake has just ended) is copied to `held_in`.
 *
 * So an idle session owns no buffer here, and OpenSSL frees its own (SSL_MODE_RELEASE_BUFFERS). */
#include <esclusa/buf.h>
#include <esclusa/net.h>
#include <esclusa/transport.h>

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct tp_tls {
    struct transport base;
    struct transport *under; /* NULL: the socket itself */
    struct transport_scratch *scratch;
    struct buf held_in;  /* sealed bytes from the socket that OpenSSL has not asked for yet */
    struct buf held_out; /* sealed bytes that the kernel has not taken yet */
    enum tp_status end;  /* TP_OK while the peer's direction is open */
    bool shut;           /* close_notify is made */
    bool greeted;        /* the handshake has begun */
    bool write_broken;   /* send(2) or sealing failed: this direction is over */
    int write_errno;
    bool in_eof; /* FIN seen */
    int in_errno;
    struct tls_flood flood;

    /* Within one operation only. */
    const uint8_t *in; /* in scratch->sealed_in */
    size_t in_length;
    size_t in_most;    /* to be asked of recv(2) */
    size_t out_length; /* in scratch->sealed_out */
    bool drained;      /* the socket has no more for now */
    bool filled;       /* one recv(2) an operation: a peer that floods gets no more than its turn */
};

static struct tp_tls *tls_of(struct transport *t)
{
    return (struct tp_tls *)t;
}

/* ---- the BIO ---- */

/* The same from another TLS transport. What that holds in user space no readiness would tell of: it
 * is taken until there is none. */
static bool fill_from_under(struct tp_tls *p)
{
    size_t n = 0;
    bool drained = true;
    struct transport *under = p->under;
    const enum tp_status status =
        under->ops->read(under, p->scratch->sealed_in, p->in_most, &n, &drained);
    p->base.came = under->came;
    switch (status) {
    case TP_OK:
        p->in = p->scratch->sealed_in;
        p->in_length = n;
        p->filled = !under->ops->has_buffered(under);
        p->drained = p->filled && drained;
        return true;
    case TP_AGAIN:
        p->drained = true;
        return false;
    case TP_EOF:
    case TP_TRUNCATED:
        p->in_eof = true; /* if ours was not ended before, ours is what was cut */
        return false;
    case TP_ERROR:
        break;
    }
    p->in_errno = ECONNRESET;
    return false;
}

/* Fills the scratch from the socket. False: nothing to be had (drained, in_eof or in_errno says).
 */
static bool fill(struct tp_tls *p)
{
    if (p->drained || p->filled || p->in_eof || p->in_errno != 0)
        return false;
    p->filled = true;
    if (p->under != NULL)
        return fill_from_under(p);
    size_t size = p->in_most;
    ssize_t n;
    do {
        n = recv(p->base.fd, p->scratch->sealed_in, size, 0);
    } while (n < 0 && errno == EINTR);

    if (n > 0) {
        p->base.came += (size_t)n;
        p->in = p->scratch->sealed_in;
        p->in_length = (size_t)n;
        p->drained = (size_t)n < size;
        return true;
    }
    if (n == 0 && p->write_broken && p->write_errno != EPIPE)
        p->in_errno = p->write_errno; /* the kernel tells a reset once, and a send was told */
    else if (n == 0)
        p->in_eof = true;
    else if (errno == EAGAIN || errno == EWOULDBLOCK)
        p->drained = true;
    else
        p->in_errno = errno;
    return false;
}

static int bio_read(BIO *bio, char *bytes, size_t size, size_t *length_r)
{
    struct tp_tls *p = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *length_r = 0;

    if (p->flood.over) { /* OpenSSL would go on through all that has come */
        errno = ECONNABORTED;
        return -1;
    }
    if (!buf_empty(&p->held_in)) {
        size_t n = buf_length(&p->held_in) < size ? buf_length(&p->held_in) : size;
        memcpy(bytes, buf_peek(&p->held_in), n);
        buf_consume(&p->held_in, n);
        *length_r = n;
        return 1;
    }
    if (p->in_length == 0 && !fill(p)) {
        if (p->in_eof)
            return 0; /* bio_ctrl() answers BIO_CTRL_EOF */
        if (p->in_errno == 0)
            BIO_set_retry_read(bio);
        errno = p->in_errno;
        return -1;
    }
    size_t n = p->in_length < size ? p->in_length : size;
    memcpy(bytes, p->in, n);
    p->in += n;
    p->in_length -= n;
    *length_r = n;
    return 1;
}

static int bio_write(BIO *bio, const char *bytes, size_t size, size_t *length_r)
{
    struct tp_tls *p = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *length_r = 0;

    if (p->scratch->sealed_out_size - p->out_length < size) {
        /* A handshake flight larger than the scratch: the order is held_out, then scratch. */
        if (!buf_append(&p->held_out, p->scratch->sealed_out, p->out_length) ||
            !buf_append(&p->held_out, bytes, size)) {
            errno = ENOMEM;
            return -1;
        }
        p->out_length = 0;
    } else {
        memcpy(p->scratch->sealed_out + p->out_length, bytes, size);
        p->out_length += size;
    }
    *length_r = size;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    const struct tp_tls *p = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_EOF: /* OpenSSL 3 asks before it says "unexpected eof while reading" */
        return p->in_eof && p->in_length == 0 && buf_empty(&p->held_in);
    case BIO_CTRL_FLUSH: /* the operation sends what has gathered */
    case BIO_CTRL_DUP:
        return 1;
    default:
        return 0;
    }
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_method_once = PTHREAD_ONCE_INIT;

static void bio_method_make(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "esclusa");
    if (method == NULL)
        return;
    BIO_meth_set_read_ex(method, bio_read);
    BIO_meth_set_write_ex(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
    bio_method = method; /* lives as long as the process */
}

/* ---- around every operation ---- */

static void operation_begin(struct tp_tls *p)
{
    p->in_length = 0;
    p->in_most = p->scratch->sealed_in_size;
    p->out_length = 0;
    p->drained = false;
    p->filled = false;
    /* Another session's error must not be taken for ours. Nearly always there is none, and to look
     * is cheaper than to clear (OpenSSL 3.0 goes through all sixteen places of the queue). */
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* Into another TLS transport, which may keep what its own socket does not take. */
static enum tp_status send_under(struct tp_tls *p, const uint8_t **bytes, size_t *size)
{
    struct transport *under = p->under;
    enum tp_status status = TP_OK;
    while (*size > 0 && status == TP_OK) {
        size_t taken = 0;
        status = under->ops->write(under, *bytes, *size, &taken);
        *bytes += taken;
        *size -= taken;
    }
    if (status == TP_OK)
        status = under->ops->flush(under);
    p->base.went = under->went;
    if (status != TP_OK && status != TP_AGAIN) {
        p->write_broken = true;
        p->write_errno = EPIPE;
        status = TP_ERROR;
    }
    return status;
}

/* send(2), and again only if interrupted: a part taken means that the send queue is full. *bytes
 * and *size are what is left. */
static enum tp_status send_some(struct tp_tls *p, const uint8_t **bytes, size_t *size)
{
    if (p->under != NULL)
        return send_under(p, bytes, size);
    while (*size > 0) {
        ssize_t n = send(p->base.fd, *bytes, *size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return TP_AGAIN;
        if (n < 0) {
            p->write_broken = true;
            p->write_errno = errno;
            return TP_ERROR;
        }
        p->base.went += (size_t)n;
        *bytes += n;
        *size -= (size_t)n;
        return *size == 0 ? TP_OK : TP_AGAIN;
    }
    return TP_OK;
}

static enum tp_status send_held(struct tp_tls *p)
{
    if (p->write_broken)
        return TP_ERROR;
    if (buf_empty(&p->held_out) && p->under == NULL)
        return TP_OK;
    const uint8_t *bytes = buf_peek(&p->held_out);
    size_t size = buf_length(&p->held_out);
    enum tp_status status = send_some(p, &bytes, &size);
    buf_consume(&p->held_out, buf_length(&p->held_out) - size);
    if (status == TP_ERROR)
        buf_fini(&p->held_out);
    return status;
}

/* Takes to the kernel what the operation sealed, and keeps what is left over on either side. */
static enum tp_status operation_end(struct tp_tls *p)
{
    if (p->in_length > 0 && !buf_append(&p->held_in, p->in, p->in_length))
        p->in_errno = ENOMEM; /* bytes are lost: the stream must not go on as if whole */
    p->in_length = 0;

    if (p->write_broken)
        return TP_ERROR;
    enum tp_status status = send_held(p);
    if (status == TP_ERROR)
        return status;
    const uint8_t *bytes = p->scratch->sealed_out;
    size_t size = p->out_length;
    p->out_length = 0;
    if (status == TP_OK)
        status = send_some(p, &bytes, &size);
    if (status == TP_AGAIN && size > 0 && !buf_append(&p->held_out, bytes, size)) {
        p->write_broken = true;
        p->write_errno = ENOMEM;
        return TP_ERROR;
    }
    return status;
}

/* The first failure is kept, but a bare errno gives way to what the peer said: a write may fail
 * with EPIPE while the alert that explains it still waits to be read. */
static void keep_failure(struct tp_tls *p, int ssl_error, int sys_errno)
{
    struct tls_failure *failure = p->base.failure;
    if (failure != NULL && failure->fault != TLS_FAULT_SYSTEM)
        return;
    struct tls_failure *newer = calloc(1, sizeof *newer);
    if (newer == NULL)
        return;
    tls_failure_collect(newer, p->base.ssl, ssl_error, sys_errno);
    if (failure != NULL && newer->fault == TLS_FAULT_SYSTEM) {
        free(newer);
        return;
    }
    free(failure);
    p->base.failure = newer;
}

static void keep_system_failure(struct tp_tls *p, int sys_errno)
{
    ERR_clear_error();
    keep_failure(p, SSL_ERROR_SYSCALL, sys_errno);
}

static void keep_flood(struct tp_tls *p)
{
    struct tls_failure *failure = calloc(1, sizeof *failure);
    ERR_clear_error();
    if (failure == NULL)
        return;
    tls_flood_failure(failure, &p->flood);
    free(p->base.failure);
    p->base.failure = failure;
}

/* ---- operations ---- */

static enum tp_status tls_handshake(struct transport *t)
{
    struct tp_tls *p = tls_of(t);
    operation_begin(p);
    p->filled = !p->greeted && !SSL_is_server(t->ssl); /* a server has nothing to say before us */
    p->greeted = true;
    int done = SSL_do_handshake(t->ssl);
    int error = done == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, done);
    bool waits = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
    if (done != 1 && !waits)
        keep_failure(p, error, p->in_errno);

    enum tp_status sent = operation_end(p); /* also the alert of a failed handshake */
    if (done != 1 && !waits)
        return TP_ERROR;
    /* A peer that is verified, has sent what it had to say and left: what it said is still to be
     * read. That it takes nothing any more is for the next write to tell (a server's tickets often
     * meet EPIPE). */
    if (done == 1) {
        tls_session_established(t->ssl, &p->flood);
        return TP_OK;
    }
    if (sent == TP_ERROR) {
        /* An alert of the peer may be waiting behind our failed send: it says more than EPIPE. */
        if (!p->in_eof && p->in_errno == 0 && p->base.failure == NULL) {
            operation_begin(p);
            done = SSL_do_handshake(t->ssl);
            error = SSL_get_error(t->ssl, done);
            if (done != 1 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
                keep_failure(p, error, p->in_errno);
            (void)operation_end(p);
        }
        keep_system_failure(p, p->write_errno);
        return TP_ERROR;
    }
    t->handshake_want = TP_WANT_READ | (sent == TP_AGAIN ? TP_WANT_WRITE : 0);
    return TP_AGAIN;
}

/* For a message after the handshake OpenSSL makes buffers both ways, and keeps the one for writing
 * (16.6 KiB) until the next write: on a session that rests, for as long as it does. The tickets of
 * TLS 1.3 come on every session. Not while a part of a record waits in it: then next time. */
static void drop_buffers(struct tp_tls *p)
{
    if (p->flood.fresh && SSL_free_buffers(p->base.ssl) == 1)
        p->flood.fresh = false;
}

/* Sorts a failed SSL_read_ex(). Returns TP_AGAIN or the end of the stream. */
static enum tp_status read_end(struct tp_tls *p)
{
    int error = SSL_get_error(p->base.ssl, 0);
    if (p->flood.over) {
        keep_flood(p);
        return TP_ERROR;
    }
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return TP_AGAIN;
    if (error == SSL_ERROR_ZERO_RETURN)
        return TP_EOF;
    keep_failure(p, error, p->in_errno);
    if (p->base.failure != NULL && p->base.failure->fault == TLS_FAULT_TRUNCATED)
        return TP_TRUNCATED;
    return TP_ERROR;
}

static enum tp_status tls_read(struct transport *t, void *bytes, size_t size, size_t *length_r,
                               bool *drained_r)
{
    struct tp_tls *p = tls_of(t);
    *length_r = 0;
    *drained_r = true;
    if (p->end != TP_OK)
        return p->end;

    operation_begin(p);
    /* No more than opens into the caller's memory: the rest would have to be kept. */
    if (size - TP_READ_MIN < p->in_most)
        p->in_most = size > 2 * TP_READ_MIN ? size - TP_READ_MIN : TP_READ_MIN;
    size_t length = 0;
    enum tp_status end = TP_OK;
    while (length < size && end == TP_OK) {
        size_t n = 0;
        if (SSL_read_ex(t->ssl, (uint8_t *)bytes + length, size - length, &n) == 1)
            length += n;
        else
            end = read_end(p);
    }
    tls_flood_data(&p->flood, length);
    drop_buffers(p);
    bool drained = p->drained;
    (void)operation_end(
        p); /* a failed send is the writer's to report: what came must not be lost */

    if (buf_length(&p->held_out) > 2 * TP_HELD_MAX) {
        /* A peer that makes us answer and never reads the answers. */
        keep_system_failure(p, ENOBUFS);
        end = TP_ERROR;
    }
    if (end != TP_OK && end != TP_AGAIN)
        p->end = end;
    /* An end that came behind these bytes is still to be told, and the socket may say no more. */
    *drained_r = drained && p->end == TP_OK;
    *length_r = length;
    if (length > 0)
        return TP_OK;
    return end == TP_OK ? TP_AGAIN : end;
}

static enum tp_status tls_write(struct transport *t, const void *bytes, size_t size,
                                size_t *length_r)
{
    struct tp_tls *p = tls_of(t);
    *length_r = 0;
    enum tp_status status = send_held(p);
    if (status == TP_OK) {
        operation_begin(p);
        size_t limit = size < TP_PLAIN_SIZE ? size : TP_PLAIN_SIZE;
        size_t n = 0;
        if (SSL_write_ex(t->ssl, bytes, limit, &n) != 1) {
            int error = SSL_get_error(t->ssl, 0);
            keep_failure(p, error, p->in_errno);
            p->write_broken = true;
            p->write_errno = EPIPE;
        }
        status = operation_end(p);
        *length_r = n;
        tls_flood_data(&p->flood, n);
    }
    if (status == TP_ERROR) {
        *length_r = 0;
        keep_system_failure(p, p->write_errno);
        return TP_ERROR;
    }
    return *length_r > 0 ? TP_OK : TP_AGAIN;
}

static enum tp_status tls_flush(struct transport *t)
{
    struct tp_tls *p = tls_of(t);
    enum tp_status status = send_held(p);
    if (status == TP_ERROR)
        keep_system_failure(p, p->write_errno);
    return status;
}

static enum tp_status tls_shut_write(struct transport *t)
{
    struct tp_tls *p = tls_of(t);
    if (!p->shut) {
        p->shut = true;
        operation_begin(p);
        if (SSL_shutdown(t->ssl) < 0) {
            int error = SSL_get_error(t->ssl, -1);
            if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
                keep_failure(p, error, p->in_errno);
                p->write_broken = true;
                p->write_errno = EPIPE;
            }
        }
        (void)operation_end(p);
    }
    return tls_flush(t);
}

static bool tls_has_buffered(const struct transport *t)
{
    const struct tp_tls *p = (const struct tp_tls *)t;
    return p->end == TP_OK && (!buf_empty(&p->held_in) || SSL_pending(t->ssl) > 0 ||
                               (p->under != NULL && p->under->ops->has_buffered(p->under)));
}

static bool tls_mid_record(const struct transport *t)
{
    const struct tp_tls *p = (const struct tp_tls *)t;
    return p->end == TP_OK && (!buf_empty(&p->held_in) || SSL_has_pending(t->ssl) == 1 ||
                               (p->under != NULL && p->under->ops->mid_record(p->under)));
}

static void tls_destroy(struct transport *t)
{
    struct tp_tls *p = tls_of(t);
    tls_session_destroy(&t->ssl); /* and the BIO with it */
    buf_fini(&p->held_in);
    buf_fini(&p->held_out);
    free(t->failure);
    if (p->under != NULL) {
        if (t->fd >= 0)
            (void)p->under->ops->shut_write(p->under); /* the proxy is told, too */
        p->under->fd = t->fd;                          /* which is given up together */
        transport_destroy(&p->under);
    } else if (t->fd >= 0) {
        sock_close(t->fd);
    }
    free(p);
}

static const struct transport_ops tls_ops = {
    .handshake = tls_handshake,
    .read = tls_read,
    .write = tls_write,
    .flush = tls_flush,
    .shut_write = tls_shut_write,
    .has_buffered = tls_has_buffered,
    .mid_record = tls_mid_record,
    .destroy = tls_destroy,
};

static struct transport *create(int fd, struct transport *under, const struct tls_profile *profile,
                                unsigned worker, const struct tls_peer *peer,
                                struct transport_scratch *scratch)
{
    pthread_once(&bio_method_once, bio_method_make);
    struct tp_tls *p = bio_method == NULL ? NULL : calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    BIO *bio = BIO_new(bio_method);
    p->base.ssl = tls_session_create(profile, worker, peer);
    if (bio == NULL || p->base.ssl == NULL) {
        BIO_free(bio);
        tls_session_destroy(&p->base.ssl);
        free(p);
        return NULL;
    }
    BIO_set_data(bio, p);
    BIO_set_init(bio, 1);
    SSL_set_bio(p->base.ssl, bio, bio); /* the SSL owns it now */
    p->base.ops = &tls_ops;
    p->base.fd = fd;
    p->under = under;
    p->scratch = scratch;
    p->end = TP_OK;
    buf_init(&p->held_in);
    buf_init(&p->held_out);
    return &p->base;
}

struct transport *transport_tls_create(int fd, const struct tls_profile *profile, unsigned worker,
                                       const struct tls_peer *peer,
                                       struct transport_scratch *scratch)
{
    return create(fd, NULL, profile, worker, peer, scratch);
}

struct transport *transport_tls_over(struct transport *under, const struct tls_profile *profile,
                                     unsigned worker, const struct tls_peer *peer,
                                     struct transport_scratch *scratch)
{
    return create(under->fd, under, profile, worker, peer, scratch);
}
