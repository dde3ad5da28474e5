/* A PROXY header that is sent. */
#include "proxy_internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define CRC_BYTES      4
#define CRC_POLYNOMIAL 0x82f63b78U /* CRC32C, its bits in the order they are sent */

/* A header is made or checked once a connection: no table is worth its cache lines. */
uint32_t proxy_crc32c(uint32_t crc, const uint8_t *bytes, size_t length)
{
    crc = ~crc;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (CRC_POLYNOMIAL & (0U - (crc & 1)));
    }
    return ~crc;
}

/* ---- addresses ---- */

struct pair {
    int family; /* AF_UNSPEC: nothing can be said */
    struct net_addr source, destination;
};

static struct pair pair_of(const struct proxy_words *w)
{
    struct pair p = {.family = AF_UNSPEC};
    if (w->source == NULL || w->destination == NULL)
        return p;
    p.source = *w->source;
    p.destination = *w->destination;
    if (net_addr_is_mapped(&p.source) && net_addr_is_mapped(&p.destination)) {
        net_addr_unmap(&p.source);
        net_addr_unmap(&p.destination);
    }
    const int family = p.source.u.sa.sa_family;
    if (family == p.destination.u.sa.sa_family &&
        (family == AF_INET || family == AF_INET6 || family == AF_UNIX))
        p.family = family;
    return p;
}

/* ---- version 1 ---- */

static size_t build_line(uint8_t *dst, const struct pair *p)
{
    char source[INET6_ADDRSTRLEN] = "", destination[INET6_ADDRSTRLEN] = "";
    char line[PROXY_V1_MAX + 1];
    int length = 0;
    if (p->family == AF_INET) {
        (void)inet_ntop(AF_INET, &p->source.u.in.sin_addr, source, sizeof source);
        (void)inet_ntop(AF_INET, &p->destination.u.in.sin_addr, destination, sizeof destination);
        length = snprintf(line, sizeof line, "PROXY TCP4 %s %s %u %u\r\n", source, destination,
                          (unsigned)ntohs(p->source.u.in.sin_port),
                          (unsigned)ntohs(p->destination.u.in.sin_port));
    } else if (p->family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &p->source.u.in6.sin6_addr, source, sizeof source);
        (void)inet_ntop(AF_INET6, &p->destination.u.in6.sin6_addr, destination, sizeof destination);
        length = snprintf(line, sizeof line, "PROXY TCP6 %s %s %u %u\r\n", source, destination,
                          (unsigned)ntohs(p->source.u.in6.sin6_port),
                          (unsigned)ntohs(p->destination.u.in6.sin6_port));
    } else {
        length = snprintf(line, sizeof line, "PROXY UNKNOWN\r\n");
    }
    memcpy(dst, line, (size_t)length);
    return (size_t)length;
}

/* ---- version 2 ---- */

struct writer {
    uint8_t *bytes; /* of PROXY_HEADER_MAX */
    size_t length;
};

static void put(struct writer *w, const void *bytes, size_t length)
{
    memcpy(w->bytes + w->length, bytes, length);
    w->length += length;
}

static void put_number(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* The head of a TLV whose length is set by close_tlv(). False: there is no room for so many bytes.
 */
static bool open_tlv(struct writer *w, uint8_t type, size_t most, size_t *at_r)
{
    if (w->length + PROXY_TLV_HEAD + most > PROXY_HEADER_MAX)
        return false;
    *at_r = w->length;
    w->bytes[w->length] = type;
    w->length += PROXY_TLV_HEAD;
    return true;
}

static void close_tlv(struct writer *w, size_t at)
{
    put_number(w->bytes + at + 1, w->length - at - PROXY_TLV_HEAD);
}

static void put_tlv(struct writer *w, uint8_t type, const void *value, size_t length)
{
    size_t at = 0;
    if (value == NULL || length == 0 || !open_tlv(w, type, length, &at))
        return;
    put(w, value, length);
    close_tlv(w, at);
}

static void put_text(struct writer *w, uint8_t type, const char *text)
{
    if (text != NULL)
        put_tlv(w, type, text, strlen(text));
}

static void put_unix(struct writer *w, const struct net_addr *a)
{
    uint8_t path[PROXY_UNIX_PATH] = {0};
    const size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t length = a->length > head ? a->length - head : 0;
    if (length > sizeof path)
        length = sizeof path;
    memcpy(path, a->u.un.sun_path, length);
    put(w, path, sizeof path);
}

static uint8_t put_addresses(struct writer *w, const struct pair *p)
{
    const struct sockaddr_in *in = &p->source.u.in, *in_to = &p->destination.u.in;
    const struct sockaddr_in6 *in6 = &p->source.u.in6, *in6_to = &p->destination.u.in6;
    switch (p->family) {
    case AF_INET:
        put(w, &in->sin_addr, sizeof in->sin_addr);
        put(w, &in_to->sin_addr, sizeof in_to->sin_addr);
        put(w, &in->sin_port, sizeof in->sin_port);
        put(w, &in_to->sin_port, sizeof in_to->sin_port);
        return PROXY_INET << 4 | PROXY_STREAM;
    case AF_INET6:
        put(w, &in6->sin6_addr, sizeof in6->sin6_addr);
        put(w, &in6_to->sin6_addr, sizeof in6_to->sin6_addr);
        put(w, &in6->sin6_port, sizeof in6->sin6_port);
        put(w, &in6_to->sin6_port, sizeof in6_to->sin6_port);
        return PROXY_INET6 << 4 | PROXY_STREAM;
    case AF_UNIX:
        put_unix(w, &p->source);
        put_unix(w, &p->destination);
        return PROXY_UNIX << 4 | PROXY_STREAM;
    default:
        return PROXY_UNSPEC << 4 | PROXY_UNSPEC;
    }
}

static void put_tls(struct writer *w, const struct proxy_tls *t)
{
    size_t at = 0;
    const uint8_t flags =
        (uint8_t)(PROXY_CLIENT_SSL | (t->showed_cert ? PROXY_CLIENT_CERT_CONN : 0) |
                  (t->has_cert ? PROXY_CLIENT_CERT_SESS : 0));
    /* Section 2.2.6: zero is "presented and verified", so no certificate is not zero. */
    const uint8_t verify[4] = {0, 0, 0, t->has_cert && t->verified ? 0 : 1};
    if (!open_tlv(w, PROXY_TYPE_SSL, sizeof flags + sizeof verify, &at))
        return;
    put(w, &flags, sizeof flags);
    put(w, verify, sizeof verify);
    put_text(w, PROXY_SSL_VERSION, t->version);
    if (t->has_cert)
        put_text(w, PROXY_SSL_CN, t->common_name);
    put_text(w, PROXY_SSL_CIPHER, t->cipher);
    put_text(w, PROXY_SSL_SIG_ALG, t->sig_alg);
    put_text(w, PROXY_SSL_KEY_ALG, t->key_alg);
    close_tlv(w, at);
}

static void put_checksum(struct writer *w)
{
    size_t at = 0;
    const uint8_t zeroes[CRC_BYTES] = {0};
    if (!open_tlv(w, PROXY_TYPE_CRC32C, CRC_BYTES, &at))
        return;
    put(w, zeroes, sizeof zeroes);
    close_tlv(w, at);
    put_number(w->bytes + 14, w->length - PROXY_FIXED);
    const uint32_t crc = proxy_crc32c(0, w->bytes, w->length);
    put_number(w->bytes + at + PROXY_TLV_HEAD, crc >> 16);
    put_number(w->bytes + at + PROXY_TLV_HEAD + 2, crc);
}

static size_t build_binary(uint8_t *dst, const struct proxy_words *words, const struct pair *p)
{
    struct writer w = {.bytes = dst};
    const bool local = words->source == NULL || words->destination == NULL;
    put(&w, PROXY_SIGNATURE, PROXY_SIGNATURE_LENGTH);
    dst[12] = PROXY_VERSION_2 | (local ? PROXY_LOCAL : PROXY_PROXY);
    w.length = PROXY_FIXED;
    dst[13] = put_addresses(&w, p);
    put_text(&w, PROXY_TYPE_ALPN, words->alpn);
    put_text(&w, PROXY_TYPE_AUTHORITY, words->authority);
    if (words->unique_id_length <= PROXY_UNIQUE_ID_MAX)
        put_tlv(&w, PROXY_TYPE_UNIQUE_ID, words->unique_id, words->unique_id_length);
    if (words->tls != NULL)
        put_tls(&w, words->tls);
    if (words->checksum)
        put_checksum(&w);
    put_number(dst + 14, w.length - PROXY_FIXED);
    return w.length;
}

size_t proxy_header_build(uint8_t *dst, const struct proxy_words *w)
{
    const struct pair p = pair_of(w);
    return w->version == 1 ? build_line(dst, &p) : build_binary(dst, w, &p);
}
