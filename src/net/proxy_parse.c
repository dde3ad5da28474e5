/* A PROXY header that came: both versions, byte by byte or all at once. */
#include "proxy_internal.h"

#include <arpa/inet.h>
#include <string.h>

#define CRC_BYTES 4

static enum proxy_status wrong(struct proxy_header *h, const char *problem)
{
    h->relayed = false;
    h->unique_id = NULL;
    h->unique_id_length = 0;
    h->problem = problem;
    return PROXY_WRONG;
}

/* ---- version 1: a line ---- */

/* The next word, up to a space or the end of the line, which is passed over. False: it is empty or
 * too long. */
static bool next_word(const char **at, const char *end, char *dst, size_t size)
{
    const char *space = memchr(*at, ' ', (size_t)(end - *at));
    const size_t length = (size_t)((space != NULL ? space : end) - *at);
    if (length == 0 || length >= size || memchr(*at, '\0', length) != NULL)
        return false;
    memcpy(dst, *at, length);
    dst[length] = '\0';
    *at += length + (space != NULL);
    return true;
}

/* 0 to 65535, no zero before another digit. */
static bool read_port(const char *word, uint16_t *port_r)
{
    unsigned value = 0;
    if (word[0] == '0' && word[1] != '\0')
        return false;
    for (const char *p = word; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            return false;
        value = 10 * value + (unsigned)(*p - '0');
        if (value > UINT16_MAX)
            return false;
    }
    *port_r = (uint16_t)value;
    return true;
}

static bool read_host(struct net_addr *a, int family, const char *word)
{
    memset(a, 0, sizeof *a);
    a->u.sa.sa_family = (sa_family_t)family;
    a->length = family == AF_INET ? sizeof a->u.in : sizeof a->u.in6;
    return inet_pton(family, word,
                     family == AF_INET ? (void *)&a->u.in.sin_addr : &a->u.in6.sin6_addr) == 1;
}

static void set_port(struct net_addr *a, uint16_t port)
{
    if (a->u.sa.sa_family == AF_INET)
        a->u.in.sin_port = htons(port);
    else
        a->u.in6.sin6_port = htons(port);
}

/* "TCP4 192.0.2.1 192.0.2.2 40000 443", or "UNKNOWN" with anything behind it. */
static enum proxy_status read_line(struct proxy_header *h, const char *at, const char *end)
{
    static const char unknown[] = "UNKNOWN";
    const size_t unknown_length = sizeof unknown - 1;
    char word[4][INET6_ADDRSTRLEN], family[sizeof unknown];
    uint16_t from = 0, to = 0;
    const char *line = at;
    if ((size_t)(end - at) >= unknown_length && memcmp(at, unknown, unknown_length) == 0 &&
        (at + unknown_length == end || at[unknown_length] == ' '))
        return PROXY_WHOLE;
    bool good = next_word(&at, end, family, sizeof family) &&
                (strcmp(family, "TCP4") == 0 || strcmp(family, "TCP6") == 0);
    if (!good)
        return wrong(h, "a PROXY line for neither TCP4, TCP6 nor UNKNOWN");
    for (size_t i = 0; good && i < 4; i++)
        good = next_word(&at, end, word[i], sizeof word[i]);
    const int af = family[3] == '4' ? AF_INET : AF_INET6;
    good = good && at == end && at > line && at[-1] != ' ' && read_host(&h->source, af, word[0]) &&
           read_host(&h->destination, af, word[1]) && read_port(word[2], &from) &&
           read_port(word[3], &to);
    if (!good)
        return wrong(h, "a PROXY line that is not two addresses and two ports");
    set_port(&h->source, from);
    set_port(&h->destination, to);
    h->relayed = true;
    return PROXY_WHOLE;
}

static enum proxy_status parse_line(const uint8_t *bytes, size_t length, struct proxy_header *h)
{
    static const char word[] = "PROXY ";
    const size_t word_length = sizeof word - 1;
    const char *text = (const char *)bytes;
    h->version = 1;
    if (memcmp(text, word, length < word_length ? length : word_length) != 0)
        return wrong(h, "no PROXY header");
    const size_t most = length < PROXY_V1_MAX ? length : PROXY_V1_MAX;
    for (size_t i = word_length; i < most; i++) {
        if (text[i] == '\n')
            return wrong(h, "a PROXY line that ends without CR LF");
        if (text[i] != '\r')
            continue;
        if (i + 1 == most)
            break;
        if (text[i + 1] != '\n')
            return wrong(h, "a PROXY line that ends without CR LF");
        h->length = i + 2;
        return read_line(h, text + word_length, text + i);
    }
    return length < PROXY_V1_MAX ? PROXY_PARTIAL
                                 : wrong(h, "a PROXY line of more than 107 characters");
}

/* ---- version 2: binary ---- */

static size_t number_at(const uint8_t *p)
{
    return (size_t)p[0] << 8 | p[1];
}

static void set_inet(struct net_addr *a, const uint8_t *host, const uint8_t *port)
{
    memset(a, 0, sizeof *a);
    a->length = sizeof a->u.in;
    a->u.in.sin_family = AF_INET;
    memcpy(&a->u.in.sin_addr, host, sizeof a->u.in.sin_addr);
    memcpy(&a->u.in.sin_port, port, sizeof a->u.in.sin_port);
}

static void set_inet6(struct net_addr *a, const uint8_t *host, const uint8_t *port)
{
    memset(a, 0, sizeof *a);
    a->length = sizeof a->u.in6;
    a->u.in6.sin6_family = AF_INET6;
    memcpy(&a->u.in6.sin6_addr, host, sizeof a->u.in6.sin6_addr);
    memcpy(&a->u.in6.sin6_port, port, sizeof a->u.in6.sin6_port);
}

/* An abstract name begins with a zero and goes up to the zeroes that fill it; unix(7). */
static void set_unix(struct net_addr *a, const uint8_t *path)
{
    _Static_assert(sizeof a->u.un.sun_path == PROXY_UNIX_PATH, "one size of paths");
    memset(a, 0, sizeof *a);
    size_t length =
        path[0] == '\0' ? PROXY_UNIX_PATH : strnlen((const char *)path, PROXY_UNIX_PATH);
    while (length > 0 && path[length - 1] == '\0')
        length--;
    a->u.un.sun_family = AF_UNIX;
    memcpy(a->u.un.sun_path, path, length);
    if (length > 0 && path[0] != '\0' && length < PROXY_UNIX_PATH)
        length++; /* its end */
    a->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

/* False: shorter than the family's addresses. *used_r: how many bytes they are. */
static bool read_addresses(struct proxy_header *h, unsigned family, const uint8_t *p, size_t length,
                           size_t *used_r)
{
    static const size_t sizes[] = {0, PROXY_INET_BYTES, PROXY_INET6_BYTES, PROXY_UNIX_BYTES};
    *used_r = sizes[family];
    if (length < *used_r)
        return false;
    if (family == PROXY_INET) {
        set_inet(&h->source, p, p + 8);
        set_inet(&h->destination, p + 4, p + 10);
    } else if (family == PROXY_INET6) {
        set_inet6(&h->source, p, p + 32);
        set_inet6(&h->destination, p + 16, p + 34);
    } else if (family == PROXY_UNIX) {
        set_unix(&h->source, p);
        set_unix(&h->destination, p + PROXY_UNIX_PATH);
    }
    return true;
}

/* Over the whole header, with zeroes where the sum stands. */
static bool is_sum_good(const uint8_t *bytes, size_t length, const uint8_t *sum)
{
    static const uint8_t zeroes[CRC_BYTES];
    const size_t before = (size_t)(sum - bytes);
    uint32_t crc = proxy_crc32c(0, bytes, before);
    crc = proxy_crc32c(crc, zeroes, CRC_BYTES);
    crc = proxy_crc32c(crc, sum + CRC_BYTES, length - before - CRC_BYTES);
    return crc == ((uint32_t)sum[0] << 24 | (uint32_t)sum[1] << 16 | (uint32_t)sum[2] << 8 |
                   (uint32_t)sum[3]);
}

static enum proxy_status read_tlvs(struct proxy_header *h, const uint8_t *bytes, size_t at)
{
    const uint8_t *sum = NULL;
    while (at < h->length) {
        if (h->length - at < PROXY_TLV_HEAD)
            return wrong(h, "a PROXY header that ends within a TLV");
        const uint8_t type = bytes[at];
        const size_t size = number_at(bytes + at + 1);
        at += PROXY_TLV_HEAD;
        if (size > h->length - at)
            return wrong(h, "a PROXY header that ends within a TLV");
        if (type == PROXY_TYPE_CRC32C) {
            if (size != CRC_BYTES || sum != NULL)
                return wrong(h, "a PROXY header whose CRC32C is not one number of 32 bits");
            sum = bytes + at;
        } else if (type == PROXY_TYPE_UNIQUE_ID) {
            if (size > PROXY_UNIQUE_ID_MAX)
                return wrong(h, "a PROXY header with a unique id of more than 128 bytes");
            h->unique_id = size > 0 ? bytes + at : NULL;
            h->unique_id_length = size;
        }
        at += size;
    }
    if (sum != NULL && !is_sum_good(bytes, h->length, sum))
        return wrong(h, "a PROXY header whose CRC32C does not fit");
    return PROXY_WHOLE;
}

static enum proxy_status read_block(struct proxy_header *h, const uint8_t *bytes, unsigned family,
                                    unsigned protocol)
{
    size_t used = 0;
    /* Of unknown length, so that nothing can be looked for behind them. */
    if (family == PROXY_UNSPEC || protocol == PROXY_UNSPEC)
        return PROXY_WHOLE;
    if (!read_addresses(h, family, bytes + PROXY_FIXED, h->length - PROXY_FIXED, &used))
        return wrong(h, "a PROXY header that is too short for its addresses");
    h->relayed = protocol == PROXY_STREAM;
    return read_tlvs(h, bytes, PROXY_FIXED + used);
}

static enum proxy_status parse_binary(const uint8_t *bytes, size_t length, struct proxy_header *h)
{
    static const char signature[] = PROXY_SIGNATURE;
    h->version = 2;
    if (memcmp(bytes, signature,
               length < PROXY_SIGNATURE_LENGTH ? length : PROXY_SIGNATURE_LENGTH) != 0)
        return wrong(h, "no PROXY header");
    /* As soon as it shows. */
    if (length > 12 && (bytes[12] & 0xf0) != PROXY_VERSION_2)
        return wrong(h, "a PROXY header of an unknown version");
    if (length > 12 && (bytes[12] & 0x0f) > PROXY_PROXY)
        return wrong(h, "a PROXY header with an unknown command");
    const bool local = length > 12 && (bytes[12] & 0x0f) == PROXY_LOCAL;
    const unsigned family = length > 13 ? bytes[13] >> 4 : 0;
    const unsigned protocol = length > 13 ? bytes[13] & 0x0f : 0;
    if (!local && (family > PROXY_UNIX || protocol > PROXY_DATAGRAM))
        return wrong(h, "a PROXY header with an unknown family or protocol");
    if (length < PROXY_FIXED)
        return PROXY_PARTIAL;
    h->length = PROXY_FIXED + number_at(bytes + 14);
    if (h->length > PROXY_HEADER_MAX)
        return wrong(h, "a PROXY header with more than 4 KiB of TLVs");
    if (length < h->length)
        return PROXY_PARTIAL;
    return local ? PROXY_WHOLE : read_block(h, bytes, family, protocol);
}

enum proxy_status proxy_header_parse(const uint8_t *bytes, size_t length, struct proxy_header *h)
{
    memset(h, 0, sizeof *h);
    if (length == 0)
        return PROXY_PARTIAL;
    return bytes[0] == 'P' ? parse_line(bytes, length, h) : parse_binary(bytes, length, h);
}
