/* sock_options: what a side's sockets are set to beyond the defaults: socket(7), ip(7), ipv6(7),
 * tcp(7). One table, applied in one place, before bind(2) or connect(2), so that the handshake has
 * it already. Any thread; nothing blocks. */
#ifndef ESCLUSA_SOCK_OPTIONS_H
#define ESCLUSA_SOCK_OPTIONS_H

#include <esclusa/net.h>

#include <stdint.h>

/* 0 or NULL: as the kernel has it. Texts are borrowed. */
struct sock_settings {
    int64_t send_buffer, receive_buffer; /* bytes; the kernel doubles them, for its own use */
    int64_t dscp;                        /* RFC 2474: the upper six bits of IPv4's TOS */
    int64_t fwmark;                      /* SO_MARK: needs CAP_NET_ADMIN, or CAP_NET_RAW (5.17) */
    int64_t fast_open;                   /* RFC 7413. Listener: how many may wait; else 0 or 1 */
    int64_t keepalive_idle, keepalive_interval; /* ms; 0: 60 s and 15 s */
    int64_t keepalive_probes;                   /* 0: 4 */
    const char *congestion;                     /* an algorithm */
    /* To connect alone. */
    const char *interface;
    struct net_addr source_4, source_6; /* length 0: any */
    uint16_t first_port, last_port;     /* 0: the kernel's range */
    bool
        kernel_chooses; /* of these: they lie in its range, else IP_LOCAL_PORT_RANGE does nothing */
};

/* These ports lie in the system's range, ip(7) ip_local_port_range. BLOCKS: reads /proc. */
bool sock_ports_are_local(uint16_t first, uint16_t last);

/* Which one the kernel refused: the option's name in the configuration, without `listen_`. */
#define SOCK_OPTION_NAME_MAX 32
struct sock_refusal {
    char name[SOCK_OPTION_NAME_MAX];
    int why; /* errno */
};

/* On a socket that is neither bound nor connected. Nothing on a unix socket. */
bool sock_set(int fd, int family, const struct sock_settings *s, bool listens,
              struct sock_refusal *refused) WARN_UNUSED;
/* Binds to the source of the address's family, if there is one. */
bool sock_bind_source(int fd, int family, const struct sock_settings *s,
                      struct sock_refusal *refused) WARN_UNUSED;
/* All of it on a socket that is thrown away: whether this machine takes it. */
bool sock_try(int family, const struct sock_settings *s, bool listens,
              struct sock_refusal *refused) WARN_UNUSED;

#endif
