/* proxy_header: what a proxy says of a consumer before the consumer's own bytes: HAProxy's PROXY
 * protocol, versions 1 and 2 (proxy-protocol.txt). Pure: no socket is touched, nothing allocated.
 * Any thread. */
#ifndef ESCLUSA_PROXY_HEADER_H
#define ESCLUSA_PROXY_HEADER_H

#include <esclusa/net.h>

#include <stdbool.h>

#define PROXY_V1_MAX        107 /* the longest line, its end included: section 2.1 */
#define PROXY_TLVS_MAX      4096
#define PROXY_UNIQUE_ID_MAX 128                         /* section 2.2.5 */
#define PROXY_HEADER_MAX    (16 + 216 + PROXY_TLVS_MAX) /* two unix addresses and the TLVs */

/* ---- proxy_parse.c ---- */

enum proxy_status {
    PROXY_WHOLE,   /* length says where it ends; what follows is the consumer's */
    PROXY_PARTIAL, /* all bytes given are the header's, and more of it is to come */
    PROXY_WRONG    /* problem says why */
};

struct proxy_header {
    unsigned version; /* 1 or 2 */
    size_t length;
    /* False: LOCAL, UNKNOWN, UNSPEC, or datagrams: the addresses of the connection itself hold, and
     * nothing is said here. */
    bool relayed;
    struct net_addr source, destination; /* the consumer, and where it connected to */
    const uint8_t *unique_id;            /* in the bytes given; NULL: none */
    size_t unique_id_length;
    const char *problem;
};

/* The beginning of what came over a connection: any part of it. Which version it is shows in the
 * first byte. Not sure to be a header is wrong: there is no guessing, and no "maybe none".
 * A CRC32C that does not fit is wrong, as are TLVs that do not end where the header does; other
 * TLVs are passed over. */
enum proxy_status proxy_header_parse(const uint8_t *bytes, size_t length, struct proxy_header *h);

/* ---- proxy_build.c ---- */

/* Of the consumer's TLS. NULL: not known, and not said. */
struct proxy_tls {
    const char *version, *cipher;
    const char *key_alg, *sig_alg; /* of the certificate that the listener showed */
    const char *common_name;       /* of the consumer's certificate, as it stands in there */
    bool showed_cert;              /* in this connection */
    bool has_cert;                 /* in the TLS session, which may have been resumed */
    bool verified;                 /* has_cert, and it was verified: nothing else counts as that */
};

/* What is said. Addresses of one family, or of none. */
struct proxy_words {
    unsigned version;                            /* 1 or 2; the rest is for 2 alone */
    const struct net_addr *source, *destination; /* NULL: LOCAL, or UNKNOWN */
    const char *alpn, *authority;                /* NULL: none */
    const uint8_t *unique_id;
    size_t unique_id_length;     /* 0: none */
    const struct proxy_tls *tls; /* NULL: plain */
    bool checksum;
};

/* At most PROXY_HEADER_MAX bytes, which dst must have room for: how many. A text that does not fit
 * is left out whole. IPv4 that came mapped (::ffff:0:0/96) on both sides is written as IPv4;
 * addresses of two kinds, or that version 1 has no word for, as UNKNOWN or UNSPEC. */
size_t proxy_header_build(uint8_t *dst, const struct proxy_words *w);

/* RFC 4960 appendix B; begin with 0, and go on with what it gave. */
uint32_t proxy_crc32c(uint32_t crc, const uint8_t *bytes, size_t length);

#endif
