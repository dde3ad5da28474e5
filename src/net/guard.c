/* Which addresses are not of the public internet: the special-purpose registries of IANA (RFC
 * 6890), and IPv4 within IPv6. */
#include <esclusa/net.h>

#include <string.h>

struct block {
    uint8_t bytes[16];
    uint8_t bits;
    const char *what;
};

/* The first that fits tells. */
static const struct block blocks_v4[] = {
    {{0}, 8, "unspecified"},                /* RFC 791 */
    {{10}, 8, "private"},                   /* RFC 1918 */
    {{100, 64}, 10, "shared (CGNAT)"},      /* RFC 6598 */
    {{127}, 8, "loopback"},                 /* RFC 1122 */
    {{168, 63, 129, 16}, 32, "metadata"},   /* Azure: public by number, the host by use */
    {{169, 254, 169, 254}, 32, "metadata"}, /* of most clouds */
    {{169, 254}, 16, "link-local"},         /* RFC 3927 */
    {{172, 16}, 12, "private"},             /* RFC 1918 */
    {{192, 0, 0}, 24, "reserved"},          /* RFC 6890 */
    {{192, 0, 2}, 24, "documentation"},     /* RFC 5737 */
    {{192, 88, 99}, 24, "reserved"},        /* RFC 7526: 6to4 relays, deprecated */
    {{192, 168}, 16, "private"},            /* RFC 1918 */
    {{198, 18}, 15, "benchmark"},           /* RFC 2544 */
    {{198, 51, 100}, 24, "documentation"},  /* RFC 5737 */
    {{203, 0, 113}, 24, "documentation"},   /* RFC 5737 */
    {{224}, 4, "multicast"},                /* RFC 5771 */
    {{240}, 4, "reserved"},                 /* RFC 1112, and the limited broadcast */
};

static const struct block blocks_v6[] = {
    {{0}, 128, "unspecified"},
    {{[15] = 1}, 128, "loopback"},
    {{0}, 96, "IPv4-compatible"},                                       /* RFC 4291, deprecated */
    {{0, 0x64, 0xff, 0x9b, 0, 1}, 48, "local-use NAT64"},               /* RFC 8215 */
    {{0x20, 0x01, 0, 0x02}, 48, "benchmark"},                           /* RFC 5180 */
    {{0x20, 0x01, 0, 0x10}, 28, "reserved"},                            /* RFC 4843: ORCHID */
    {{0x20, 0x01, 0, 0x20}, 28, "reserved"},                            /* RFC 7343: ORCHIDv2 */
    {{0x20, 0x01, 0x0d, 0xb8}, 32, "documentation"},                    /* RFC 3849 */
    {{0x3f, 0xff}, 20, "documentation"},                                /* RFC 9637 */
    {{0xfd, 0, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54}, 128, "metadata"}, /* of AWS */
    {{0xfc}, 7, "private"},                                             /* RFC 4193 */
    {{0xfe, 0x80}, 10, "link-local"},                                   /* RFC 4291 */
    {{0xfe, 0xc0}, 10, "private"},                                      /* RFC 3879: site-local */
    {{0xff}, 8, "multicast"},                                           /* RFC 4291 */
};

/* IPv4 within IPv6: where it stands. Traffic to it ends at that IPv4 address. */
static const struct embedded {
    struct block block;
    unsigned at;
    bool inverted;
} embeddings[] = {
    {{{[10] = 0xff, [11] = 0xff}, 96, "IPv4-mapped"}, 12, false}, /* RFC 4291 */
    {{{0, 0x64, 0xff, 0x9b}, 96, "NAT64"}, 12, false},            /* RFC 6052 */
    {{{0x20, 0x02}, 16, "6to4"}, 2, false},                       /* RFC 3056 */
    {{{0x20, 0x01, 0, 0}, 32, "Teredo"}, 4, false},               /* RFC 4380: its server */
    {{{0x20, 0x01, 0, 0}, 32, "Teredo"}, 12, true},               /* and its client */
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_in(const struct block *b, const uint8_t *bytes)
{
    const unsigned whole = b->bits / 8, rest = b->bits % 8;
    if (memcmp(b->bytes, bytes, whole) != 0)
        return false;
    return rest == 0 || ((b->bytes[whole] ^ bytes[whole]) & (uint8_t)(0xff << (8 - rest))) == 0;
}

static const char *find(const struct block *blocks, size_t count, const uint8_t *bytes)
{
    for (size_t i = 0; i < count; i++) {
        if (is_in(&blocks[i], bytes))
            return blocks[i].what;
    }
    return NULL;
}

static const char *of_v4(const uint8_t *bytes)
{
    return find(blocks_v4, COUNT(blocks_v4), bytes);
}

static const char *of_v6(const uint8_t *bytes)
{
    const char *what = find(blocks_v6, COUNT(blocks_v6), bytes);
    bool carries = false;
    for (size_t i = 0; what == NULL && i < COUNT(embeddings); i++) {
        const struct embedded *e = &embeddings[i];
        uint8_t v4[4];
        if (!is_in(&e->block, bytes))
            continue;
        carries = true;
        for (size_t k = 0; k < sizeof v4; k++)
            v4[k] = (uint8_t)(bytes[e->at + k] ^ (e->inverted ? 0xff : 0));
        what = of_v4(v4);
    }
    /* RFC 4291 2.4: what is given out for the public internet is 2000::/3. */
    return what == NULL && !carries && (bytes[0] & 0xe0) != 0x20 ? "reserved" : what;
}

const char *net_addr_not_public(const struct net_addr *a)
{
    if (a->u.sa.sa_family == AF_INET)
        return of_v4((const uint8_t *)&a->u.in.sin_addr);
    if (a->u.sa.sa_family == AF_INET6)
        return of_v6(a->u.in6.sin6_addr.s6_addr);
    return "of this machine";
}
