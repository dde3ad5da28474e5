/* transport: a byte stream over a non-blocking socket, plain or TLS, behind one small table of
 * operations. The relay knows nothing else; tests drive it with a scripted fake.
 *
 * Owner: a session, on its worker's thread. No operation blocks. The transport owns its fd from a
 * successful *_create() on; destroy closes it.
 *
 * How a stream ended is the one thing a gateway must report: TP_EOF is a clean end (FIN of a plain
 * stream, close_notify of a TLS one, RFC 8446 6.1), TP_TRUNCATED is a TLS stream cut without
 * close_notify, TP_ERROR is a reset or worse. The end status is sticky: read() says it again. */
#ifndef ESCLUSA_TRANSPORT_H
#define ESCLUSA_TRANSPORT_H

#include <esclusa/tls.h>

#include <stddef.h>
#include <stdint.h>

enum tp_status { TP_OK, TP_AGAIN, TP_EOF, TP_TRUNCATED, TP_ERROR };

enum { TP_WANT_NONE = 0, TP_WANT_READ = 1, TP_WANT_WRITE = 2 };

struct transport;

struct transport_ops {
    /* Goes on with the handshake. TP_OK: done, and the peer is verified as the profile demands.
     * TP_AGAIN: wait for transport->handshake_want. TP_ERROR: over; see transport_failure(). A
     * plain transport is done at once. No other operation may be called before it gave TP_OK. */
    enum tp_status (*handshake)(struct transport *t);
    /* Reads at most size bytes (size >= TP_READ_MIN), as much as has come: TP_OK with *length_r >
     * 0, TP_AGAIN: wait for readable. *drained_r: the socket had no more when asked; a next read is
     * pointless before it is readable again, unless has_buffered(). */
    enum tp_status (*read)(struct transport *t, void *bytes, size_t size, size_t *length_r,
                           bool *drained_r);
    /* Takes up to size bytes: TP_OK with *length_r > 0. Taken bytes may wait inside the transport
     * (at most TP_HELD_MAX), already sealed in records: flush() moves them. TP_AGAIN: nothing was
     * taken, wait for writable. Never TP_EOF or TP_TRUNCATED. */
    enum tp_status (*write)(struct transport *t, const void *bytes, size_t size, size_t *length_r);
    /* TP_OK: everything taken is in the kernel's hands. TP_AGAIN: wait for writable. */
    enum tp_status (*flush)(struct transport *t);
    /* Ends our direction, after flushing: FIN of a plain stream, close_notify of a TLS one (without
     * a FIN: the other direction goes on). TP_OK once; idempotent afterwards. */
    enum tp_status (*shut_write)(struct transport *t);
    /* Bytes that came from the socket wait in user space: read() gives something although the
     * socket may never become readable again. */
    bool (*has_buffered)(const struct transport *t);
    /* Part of something the peer sends has come: its stream is not at rest. */
    bool (*mid_record)(const struct transport *t);
    /* Frees; closes the fd if it is still owned. */
    void (*destroy)(struct transport *t);
};

struct transport {
    const struct transport_ops *ops;
    int fd;                      /* -1: given up by transport_release_fd() */
    unsigned handshake_want;     /* after handshake() said TP_AGAIN */
    uint64_t came, went;         /* bytes that its socket gave and took */
    struct ssl_st *ssl;          /* NULL for a plain one; for transport_tls_info() */
    int sys_errno;               /* of a TP_ERROR of a plain transport */
    struct tls_failure *failure; /* of a TP_ERROR or TP_TRUNCATED of a TLS one; owned */
};

/* Scratch memory of one worker, shared by all its transports, used within one operation only. */
struct transport_scratch {
    uint8_t *plain; /* where pumps read into */
    size_t plain_size;
    uint8_t *sealed_in; /* what recv(2) filled, TLS only */
    size_t sealed_in_size;
    uint8_t *sealed_out; /* records gathered for one send(2), TLS only */
    size_t sealed_out_size;
};

#define TP_READ_MIN ((size_t)17 * 1024) /* one record and then some: RFC 8446 5.1 */
/* One recv(2) of a TLS stream at most. Chosen by measurement: docs/performance.md. */
#define TP_SEALED_SIZE ((size_t)512 * 1024)
/* What a full sealed_in can open to, with the partial record OpenSSL may hold from before. */
#define TP_PLAIN_SIZE (TP_SEALED_SIZE + TP_READ_MIN)
#define TP_HELD_MAX   (TP_PLAIN_SIZE + (size_t)16 * 1024) /* TP_PLAIN_SIZE sealed in records */
/* What is read at a time from a stream until it is seen to fill that, and its reader to take it */
#define TP_READ_FIRST ((size_t)64 * 1024 + TP_READ_MIN)

bool transport_scratch_init(struct transport_scratch *s, struct error *err) WARN_UNUSED;
void transport_scratch_fini(struct transport_scratch *s);

/* NULL: no memory; the fd stays the caller's. reset: the kernel has already told that the peer
 * reset the connection (SO_ERROR), and tells it once only: what it sent before can still be read,
 * its end is TP_ERROR. */
struct transport *transport_plain_create(int fd, bool reset);
/* profile and peer as tls_session_create(). scratch must outlive the transport. */
struct transport *transport_tls_create(int fd, const struct tls_profile *profile, unsigned worker,
                                       const struct tls_peer *peer,
                                       struct transport_scratch *scratch);

/* TLS within TLS: over a TLS transport whose handshake is done, which is taken over; nothing else
 * may use it afterwards. It works in a scratch of its own: not this one. NULL: it stays the
 * caller's. */
struct transport *transport_tls_over(struct transport *under, const struct tls_profile *profile,
                                     unsigned worker, const struct tls_peer *peer,
                                     struct transport_scratch *scratch);

/* ops->destroy and NULL. Nothing for NULL. */
void transport_destroy(struct transport **t);
/* Hands the fd back: destroy will not close it. */
int transport_release_fd(struct transport *t);
/* TLS: true and fills; plain: false. */
bool transport_tls_info(const struct transport *t, struct tls_info *info);
bool transport_tls_told(const struct transport *t, struct tls_told *told);

#endif
