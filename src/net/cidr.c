#include <esclusa/net.h>
#include <esclusa/str.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define BITS_V4        32
#define BITS_V6        128
#define MAPPED_PREFIX  12 /* bytes of ::ffff:0:0/96, RFC 4291 2.5.5.2 */
#define BITS_OF_A_BYTE 8

/* Both families as sixteen bytes, IPv4 mapped: then one comparison serves. */
static void map_v4(uint8_t bytes[16], const struct in_addr *v4)
{
    static const uint8_t prefix[MAPPED_PREFIX] = {[10] = 0xff, [11] = 0xff};
    memcpy(bytes, prefix, sizeof(prefix));
    memcpy(bytes + MAPPED_PREFIX, v4, sizeof(*v4));
}

static uint8_t mask_of(unsigned bits, unsigned byte)
{
    if (bits >= (byte + 1) * BITS_OF_A_BYTE)
        return 0xff;
    if (bits <= byte * BITS_OF_A_BYTE)
        return 0;
    return (uint8_t)(0xff << (BITS_OF_A_BYTE - bits % BITS_OF_A_BYTE));
}

/* "/24" behind the address; none: the whole address. */
static bool parse_bits(const char *slash, unsigned most, unsigned *bits_r)
{
    char *end = NULL;
    *bits_r = most;
    if (slash == NULL)
        return true;
    if (slash[1] < '0' || slash[1] > '9')
        return false;
    const unsigned long bits = strtoul(slash + 1, &end, 10);
    *bits_r = (unsigned)bits;
    return *end == '\0' && bits <= most;
}

bool net_cidr_parse(struct net_cidr *c, const char *text, struct error *err)
{
    char host[INET6_ADDRSTRLEN] = "";
    const char *slash = strchr(text, '/');
    const size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);
    struct in_addr v4;
    struct in6_addr v6;
    memset(c, 0, sizeof(*c));
    if (length < sizeof(host))
        (void)str_copy(host, length + 1, text);
    unsigned bits = 0;
    bool good = false;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        good = parse_bits(slash, BITS_V4, &bits);
        bits += BITS_V6 - BITS_V4;
        map_v4(c->bytes, &v4);
    } else if (inet_pton(AF_INET6, host, &v6) == 1) {
        good = parse_bits(slash, BITS_V6, &bits);
        memcpy(c->bytes, &v6, sizeof(v6));
    }
    if (!good)
        return error_set(err, "'%s' is no network; write one like 10.0.0.0/8 or 2001:db8::/32",
                         text);
    c->bits = (uint8_t)bits;
    for (unsigned i = 0; i < sizeof(c->bytes); i++) {
        if ((c->bytes[i] & ~mask_of(bits, i)) != 0)
            return error_set(err,
                             "'%s' has bits set behind its prefix; write the network's "
                             "address, or leave the prefix out for one host",
                             text);
    }
    return true;
}

static bool is_in(const struct net_cidr *c, const uint8_t bytes[16])
{
    for (unsigned i = 0; i < sizeof(c->bytes); i++) {
        if (((bytes[i] ^ c->bytes[i]) & mask_of(c->bits, i)) != 0)
            return false;
    }
    return true;
}

bool net_cidr_covers(const struct net_cidr *a, const struct net_cidr *b)
{
    return a->bits <= b->bits && is_in(a, b->bytes);
}

bool net_cidr_has(const struct net_cidr *c, const struct net_addr *a)
{
    uint8_t bytes[16];
    if (a->u.sa.sa_family == AF_INET)
        map_v4(bytes, &a->u.in.sin_addr);
    else if (a->u.sa.sa_family == AF_INET6)
        memcpy(bytes, &a->u.in6.sin6_addr, sizeof(bytes));
    else
        return false;
    return is_in(c, bytes);
}

bool net_cidr_list_has(const struct net_cidr *list, size_t count, const struct net_addr *a)
{
    for (size_t i = 0; i < count; i++) {
        if (net_cidr_has(&list[i], a))
            return true;
    }
    return false;
}
