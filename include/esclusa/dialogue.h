/* dialogue: what is said on a connection before TLS begins there: to a proxy (HTTP CONNECT, RFC
 * 9110 9.3.6; SOCKS5, RFC 1928 and 1929), or to a server whose TLS is asked for in its own protocol
 * (STARTTLS). State machines without I/O: they are fed what came and say what to send.
 *
 * Owner: whoever makes the connection, on one thread. Nothing blocks. Memory is bounded: 64 KiB of
 * a dialogue, each unit of it (a line, a packet) less.
 *
 * No byte is lost or taken for another: what came behind a proxy's answer is of the tunnel
 * (dialogue_rest()). What came between a server's word to begin TLS and TLS is somebody's who
 * wants it taken for said under TLS (CVE-2011-0411, CVE-2021-23222), and ends the dialogue; so
 * does an answer that is there before its question. There is no going on without TLS. */
#ifndef ESCLUSA_DIALOGUE_H
#define ESCLUSA_DIALOGUE_H

#include <esclusa/buf.h>
#include <esclusa/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(enum name, word) */
#define DIALOGUE_LIST(X)                                                                           \
    X(DIALOGUE_HTTP, "http")                                                                       \
    X(DIALOGUE_SOCKS5, "socks5")                                                                   \
    X(DIALOGUE_POSTGRES, "postgres")                                                               \
    X(DIALOGUE_MYSQL, "mysql")                                                                     \
    X(DIALOGUE_SMTP, "smtp")                                                                       \
    X(DIALOGUE_IMAP, "imap")                                                                       \
    X(DIALOGUE_POP3, "pop3")                                                                       \
    X(DIALOGUE_LDAP, "ldap")                                                                       \
    X(DIALOGUE_XMPP, "xmpp")                                                                       \
    X(DIALOGUE_FTP, "ftp")

enum dialogue_protocol {
#define DIALOGUE_ENUM(name, word) name,
    DIALOGUE_LIST(DIALOGUE_ENUM)
#undef DIALOGUE_ENUM
        DIALOGUE_COUNT
};

#define DIALOGUE_TOTAL_MAX      ((size_t)64 * 1024) /* said by the peer, or by the consumer */
#define DIALOGUE_CREDENTIAL_MAX 4096                /* of a user or a password; SOCKS5: 255 */

/* Where to, and as whom. The strings are used by dialogue_create() and not kept. */
struct dialogue_order {
    enum dialogue_protocol protocol;
    const char *host; /* proxies: a name or a literal without brackets; XMPP: the domain */
    uint16_t port;    /* proxies */
    const char *user, *password; /* proxies; NULL: none */
};

enum dialogue_state {
    DIALOGUE_MORE,     /* wants to hear more of the peer */
    DIALOGUE_CONSUMER, /* mysql: wants the consumer's first packet, see dialogue_consumer() */
    DIALOGUE_DONE,     /* once all is sent, TLS (or the tunnel) begins */
    DIALOGUE_FAILED
};

/* Why it failed; whether another upstream may be tried is decided by this. */
enum dialogue_fault {
    DIALOGUE_FAULT_NONE,
    DIALOGUE_FAULT_MEMORY,
    DIALOGUE_FAULT_CUT,         /* the peer closed in the middle of it */
    DIALOGUE_FAULT_GARBAGE,     /* what came is not of the protocol, or beyond its bounds */
    DIALOGUE_FAULT_UNREACHABLE, /* the proxy does not get there; the server does not serve now */
    DIALOGUE_FAULT_DENIED,      /* the proxy's credentials or rules */
    DIALOGUE_FAULT_NO_TLS,      /* the server offers no TLS, or refused to begin it */
    DIALOGUE_FAULT_INJECTED,    /* bytes that were there before they were asked for */
    DIALOGUE_FAULT_WORDS,       /* what is to be said cannot be: host, credentials */
    DIALOGUE_FAULT_BY_CONSUMER  /* mysql: what the consumer said cannot be passed on */
};

struct dialogue_row;

struct dialogue {
    enum dialogue_state state;
    enum dialogue_fault fault;
    char error[512];    /* one line of printable ASCII; empty unless failed */
    const char *remedy; /* NULL: none; static */
    /* What the consumer must hear first: before TLS with DIALOGUE_CONSUMER, else after it. To be
     * taken (buf_init() the field) or left to dialogue_destroy(). */
    struct buf early;
    /* mysql, when done: what the consumer has said and the server must hear first under TLS. */
    struct buf held;
    /* private */
    const struct dialogue_row *row;
    struct buf in, out;
    size_t heard, heard_consumer; /* bytes of the dialogue so far */
    unsigned stage;               /* the protocol's own */
    unsigned code;                /* a reply so far: its code, and whether it offers TLS */
    bool offers;
    bool has_credentials;
    unsigned count; /* units that were skipped */
    unsigned depth; /* XMPP: open elements */
    char note[128]; /* what the peer gave as a reason, escaped */
};

/* "postgres", ...: the word of a protocol, and back; false: no such. */
const char *dialogue_word(enum dialogue_protocol protocol);
/* HTTP CONNECT and SOCKS5: what follows is the tunnel, not necessarily TLS. */
bool dialogue_is_proxy(enum dialogue_protocol protocol);

/* NULL: no memory. May have failed already (the host cannot be said in that protocol, or the
 * credentials are too long). */
struct dialogue *dialogue_create(const struct dialogue_order *order) WARN_UNUSED;
/* NULLs *d; nothing for NULL. What credentials it held is overwritten. */
void dialogue_destroy(struct dialogue **d);

/* What is to be sent to the peer now: its length, 0 for nothing. Valid until the next call. */
size_t dialogue_pending(const struct dialogue *d, const uint8_t **bytes_r);
void dialogue_sent(struct dialogue *d, size_t length);

/* The peer said so; the state tells what came of it. */
void dialogue_feed(struct dialogue *d, const void *bytes, size_t length);
/* The consumer said so, with DIALOGUE_CONSUMER alone. All of it is taken. */
void dialogue_consumer(struct dialogue *d, const void *bytes, size_t length);
/* The peer has closed, or reset, the connection: a failure unless the dialogue is over. */
void dialogue_ended(struct dialogue *d);

/* Proxies, when done: bytes that came behind the answer, the first of the tunnel. To be taken like
 * `early`. Never any for the others. */
struct buf *dialogue_rest(struct dialogue *d);

/* ---- opening.c: what a consumer of PostgreSQL says first (protocol 3.0, 55.2.10, 55.2.11) ----
 *
 * It may ask for TLS or GSSAPI encryption of its own connection. The server would take that as
 * asked inside of TLS; here it is answered with 'N': there is none on this side. */

struct opening {
    uint8_t held[8]; /* the head of a request, not yet whole */
    size_t length;
    unsigned asked;
};

/* Looks at what the consumer said, in order and from the first byte on. *take_r of the bytes are
 * used up; *answers_r times 'N' is to be answered. True: the opening is over: the server is to hear
 * opening.held[0..length) and then the bytes from *take_r on. False: it goes on with further
 * bytes, and all of these are used up. */
bool opening_feed(struct opening *o, const uint8_t *bytes, size_t length, size_t *take_r,
                  unsigned *answers_r);

/* ---- offer.c: how a PostgreSQL server wants the consumer to log in ----
 *
 * Over TLS it offers mechanisms that bind to it (SCRAM-SHA-256-PLUS). The consumer has no TLS to
 * bind to, and libpq takes such an offer for an attack. They are left out of it. */

#define OFFER_MAX 512

struct offer {
    uint8_t held[OFFER_MAX]; /* what the server said, up to its offer */
    size_t length;
};

/* Looks at what the server said, in order and from the first byte on, as opening_feed() does. True:
 * the consumer is to hear offer.held[0..length) and then the bytes from *take_r on. */
bool offer_feed(struct offer *o, const uint8_t *bytes, size_t length, size_t *take_r);

/* ---- mysql_shift.c: sequence numbers while a MySQL consumer logs in ----
 *
 * Our SSLRequest took number 1, so what the consumer numbers n is n + 1 to the server and the other
 * way round, until the server says that the login is over, or the consumer begins a command. */

struct mysql_shift {
    uint8_t head[4];
    unsigned head_length;
    size_t body; /* bytes of the packet that are still to come */
    bool first;  /* the next byte is the first of a body */
    bool over;   /* nothing is changed any more */
};

/* In place, a stream cut anywhere. */
void mysql_shift_consumer(struct mysql_shift *s, uint8_t *bytes, size_t length);
void mysql_shift_server(struct mysql_shift *s, uint8_t *bytes, size_t length);

#endif
