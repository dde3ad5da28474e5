/* net: addresses and sockets. Every socket made here is non-blocking and close-on-exec.
 * socket(2), bind(2), listen(2), accept4(2), connect(2), tcp(7), unix(7). Any thread; nothing
 * blocks but net_resolve_blocking(). */
#ifndef ESCLUSA_NET_H
#define ESCLUSA_NET_H

#include <esclusa/error.h>

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* ---- addr.c: endpoints as they are written, addresses as the kernel takes them ---- */

enum net_scheme { NET_TCP, NET_TLS, NET_UNIX };
enum net_role { NET_LISTEN, NET_CONNECT }; /* decides what a bare address means */

#define NET_HOST_MAX 256
#define NET_TEXT_MAX 300

#define NET_FD_NAME_MAX 256 /* systemd's FDNAME_MAX and the terminator */

/* "[SCHEME://]HOST:PORT", "unix:/path", "unix:@abstract", as in the command line's table; to
 * connect also "[SCHEME://]srv:_SERVICE._PROTO.DOMAIN" (RFC 2782); to listen also
 * "[tls+]systemd:NAME", the sockets of that name that were handed over at the start
 * (sd_listen_fds(3)). */
struct net_endpoint {
    enum net_scheme scheme;
    char host[NET_HOST_MAX];       /* name or literal without brackets; "" for unix and systemd */
    uint16_t port;                 /* 1..65535; 0 for unix, systemd and SRV */
    bool srv;                      /* host is the name of SRV records, which give hosts and ports */
    char fd_name[NET_FD_NAME_MAX]; /* "" but for systemd */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "@name" for an abstract one */
};

struct net_addr {
    socklen_t length;
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } u;
};

/* NET_LISTEN: bare HOST:PORT is tcp, bare PORT is 127.0.0.1. NET_CONNECT: bare HOST:PORT is tls.
 * The error says what was given and what would do (udp:// and dtls:// are named as not supported
 * yet; port 0, 65536, a missing port, an empty host, an IPv6 literal without brackets, a too long
 * host or path, trailing text). *e is all zero when false.
 * Schemes are equal whatever the case. "unix:///abs" is "unix:/abs"; "unix://x", a relative path
 * and one that ends in '/' are refused. A name is letters, digits, '-', '_', '.'; parts of at most
 * 63, 253 in all; a dot at the end is kept. A name that ends in a number is refused (getaddrinfo
 * would read "127.1" as an address). A port alone may have no scheme before it. The NAME of
 * systemd: is printable ASCII without ':' and '/'. */
bool net_endpoint_parse(struct net_endpoint *e, const char *text, enum net_role role,
                        struct error *err) WARN_UNUSED;
/* "tls://host:443", "tcp://[::1]:80", "unix:/path", "tls+systemd:name", "tls://srv:_a._tcp.b.c". */
void net_endpoint_format(const struct net_endpoint *e, char *dst, size_t size);
/* The name that the administrator trusts: host, or of SRV what is behind the two labels with '_'.
 * Points into *e. */
const char *net_endpoint_name(const struct net_endpoint *e);

/* True for an IPv4 or IPv6 literal (no brackets); fills *a with that address and port when a is
 * not NULL. A zone ("fe80::1%eth0", "fe80::1%2") is taken; with a not NULL, the interface must
 * exist, else false and *a is untouched. */
bool net_addr_from_literal(struct net_addr *a, const char *host, uint16_t port);
/* literal.c: "10.0.0.1", "10.0.0.1:53", "2001:db8::1", "[2001:db8::1]:53"; port where none is
 * given. The error says what was given and what would do. */
bool net_addr_parse(struct net_addr *a, const char *text, uint16_t port,
                    struct error *err) WARN_UNUSED;
/* The socket address of a unix endpoint; '@' first makes it abstract. */
void net_addr_from_path(struct net_addr *a, const char *path);
/* "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "unix:/path", "unix:@name", "unix:" for an
 * unnamed peer, "unknown" for another family. A path may hold any byte: escape it to show it. */
void net_addr_format(const struct net_addr *a, char *dst, size_t size);
/* The same address and port, or the same path or abstract name. */
bool net_addr_equal(const struct net_addr *a, const struct net_addr *b);

/* getaddrinfo(3), AF_UNSPEC, SOCK_STREAM. BLOCKS: for start-up and for helper threads alone.
 * Fills at most max addresses, in the resolver's order (RFC 6724), duplicates dropped; at least
 * one when true. */
bool net_resolve_blocking(const char *host, uint16_t port, struct net_addr *list, size_t max,
                          size_t *count_r, struct error *err) WARN_UNUSED;

/* ---- cidr.c: networks (RFC 4632, RFC 4291 2.3) ---- */

/* IPv4 is kept mapped (::ffff:0:0/96), so 10.0.0.0/8 has ::ffff:10.1.2.3 too, and ::/0 everyone. */
struct net_cidr {
    uint8_t bytes[16];
    uint8_t bits;
};

/* "10.0.0.0/8", "2001:db8::/32"; without a prefix one host. Bits set behind the prefix are refused:
 * they are a mistake in one or the other. */
bool net_cidr_parse(struct net_cidr *c, const char *text, struct error *err) WARN_UNUSED;
/* False for what is no IP address, like a unix peer. */
bool net_cidr_has(const struct net_cidr *c, const struct net_addr *a);
/* Whoever is in b is in a. */
bool net_cidr_covers(const struct net_cidr *a, const struct net_cidr *b);
bool net_cidr_list_has(const struct net_cidr *list, size_t count, const struct net_addr *a);

/* ---- mapped.c ---- */

/* An IPv4 address as a socket that takes both families has it, "::ffff:192.0.2.1" (RFC 4291
 * 2.5.5.2). */
bool net_addr_is_mapped(const struct net_addr *a);
/* Such a one becomes the IPv4 address, with its port; others stay as they are. */
void net_addr_unmap(struct net_addr *a);
/* Of IPv4 or IPv6; a mapped one is none until it is unmapped. */
bool net_addr_is_loopback(const struct net_addr *a);

/* ---- guard.c ---- */

/* What an address is that is not one of the public internet ("loopback", "private", "metadata",
 * ...), by itself or by the IPv4 address within it (mapped, NAT64, 6to4, Teredo); NULL: it is one.
 * IANA's special-purpose registries, RFC 6890. Static text. */
const char *net_addr_not_public(const struct net_addr *a);

/* ---- sock.c: one connection's socket ---- */

/* socket + connect, from an ephemeral port. True: fd_r is connecting or connected (a connected one
 * is also reported writable by epoll). False: *errno_r is why (ENETUNREACH, ...), no fd is left. */
bool sock_connect(const struct net_addr *to, int *fd_r, int *errno_r) WARN_UNUSED;
/* The same with what sock_options.h says set and bound first. *refused: what could not be. */
struct sock_settings;
struct sock_refusal;
bool sock_connect_as(const struct net_addr *to, const struct sock_settings *s, int *fd_r,
                     int *errno_r, struct sock_refusal *refused) WARN_UNUSED;
/* After it became writable: 0, or the errno of the failed connect (SO_ERROR). A socket that met
 * itself (TCP simultaneous open on a free local port) counts as ECONNREFUSED. Ask once. */
int sock_connect_result(int fd, const struct net_addr *to);
/* TCP_NODELAY. This and the next are harmless on a unix socket. */
void sock_tune(int fd);
/* Keepalive 60 s idle / 15 s interval / 4 probes (below the 350 s at which cloud load balancers
 * forget a connection). Four calls: for a connection that is about to rest. */
void sock_keep_alive(int fd, const struct sock_settings *s); /* NULL: these */
/* How long, in milliseconds, sent bytes may stay unacknowledged: tcp(7), TCP_USER_TIMEOUT. 0:
 * nothing is changed. */
void sock_user_timeout(int fd, int64_t ms);
/* Bytes in the send queue that the peer has not acknowledged (SIOCOUTQ); 0 on an error. */
size_t sock_unsent(int fd);
/* Closes so that the peer sees ECONNRESET, not an end of stream (SO_LINGER 0); what is in the send
 * queue is thrown away. A unix peer sees a reset only if it had sent something not yet read. */
void sock_reset(int fd);
void sock_close(int fd);
/* Reads and drops what has come, in bounded steps. */
enum sock_drain { SOCK_DRAIN_MORE, SOCK_DRAIN_AGAIN, SOCK_DRAIN_EOF, SOCK_DRAIN_ERROR };
enum sock_drain sock_drain(int fd, uint64_t *dropped);
/* The local and the remote address of a connected socket; false: not known. */
bool sock_local(int fd, struct net_addr *a);
bool sock_peer(int fd, struct net_addr *a);

/* ---- peer.c: whose process is at the other end, on this machine ---- */

/* Of a unix connection, as it was when it connected: unix(7), SO_PEERCRED. */
bool sock_peer_user(int fd, uid_t *uid_r, gid_t *gid_r) WARN_UNUSED;
/* One of its supplementary groups (SO_PEERGROUPS) is in the list. */
bool sock_peer_in_group(int fd, const gid_t *groups, size_t count);
/* Who owns the TCP socket on this machine that is bound to `of` and connected to `to`:
 * sock_diag(7). False: there is none in this network namespace, or the kernel does not say. */
bool sock_owner(const struct net_addr *of, const struct net_addr *to, uid_t *uid_r) WARN_UNUSED;

/* ---- listener.c ---- */

/* socket, bind, listen. SO_REUSEADDR; an IPv6 listener takes IPv6 only (IPV6_V6ONLY). host names
 * are resolved here, blocking, once: start-up only; of several addresses the first that this
 * machine has is taken. A unix path left by a dead process is taken over; one with a living
 * listener, or that is no socket, is an error. The umask decides who may connect to it. backlog is
 * what listen(2) gets. What is accepted from it has sock_tune() and sock_keep_alive() already.
 * False: *fd_r is -1. */
bool listener_open(const struct net_endpoint *at, int backlog, int *fd_r,
                   struct error *err) WARN_UNUSED;
/* Closes; removes the path of a unix listener, unless another socket listens there by now (a
 * duplicate of fd that is still open counts as one). */
void listener_close(const struct net_endpoint *at, int fd);

enum accept_status {
    ACCEPT_OK,
    ACCEPT_AGAIN, /* nobody waits */
    ACCEPT_RETRY, /* that one is gone (ECONNABORTED, EINTR, an error of its own: accept(2)) */
    ACCEPT_LIMIT, /* no descriptor or memory: rest, do not spin */
    ACCEPT_BROKEN /* the listener itself is unusable */
};
/* A new descriptor for that consumer alone; *errno_r is set, and *fd_r is -1, but for ACCEPT_OK. */
enum accept_status listener_accept(int fd, int *fd_r, struct net_addr *peer, int *errno_r);

#endif
