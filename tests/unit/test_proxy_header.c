/* PROXY headers as they come, at every split and every length, and as they are sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/proxy_header.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SIGNATURE    "\r\n\r\n\0\r\nQUIT\n"

struct bytes {
    uint8_t at[PROXY_HEADER_MAX + 64];
    size_t length;
};

static void add(struct bytes *b, const void *what, size_t length)
{
    assert_true(b->length + length <= sizeof b->at);
    memcpy(b->at + b->length, what, length);
    b->length += length;
}

/* size: what the length field says. */
static struct bytes begin(unsigned command, unsigned family, size_t size)
{
    struct bytes b = {.length = 0};
    const uint8_t rest[] = {(uint8_t)command, (uint8_t)family, (uint8_t)(size >> 8), (uint8_t)size};
    add(&b, SIGNATURE, 12);
    add(&b, rest, sizeof rest);
    return b;
}

static void add_tlv(struct bytes *b, unsigned type, const void *value, size_t length)
{
    const uint8_t head[] = {(uint8_t)type, (uint8_t)(length >> 8), (uint8_t)length};
    add(b, head, sizeof head);
    add(b, value, length);
}

static void set_length(struct bytes *b)
{
    b->at[14] = (uint8_t)((b->length - 16) >> 8);
    b->at[15] = (uint8_t)(b->length - 16);
}

static const uint8_t inet[] = {192, 0, 2, 1, 198, 51, 100, 2, 0x9c, 0x40, 0x01, 0xbb};

/* Of that very size, so that a sanitizer sees a read past it. */
static enum proxy_status parse(const void *bytes, size_t length, struct proxy_header *h)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    const enum proxy_status status = proxy_header_parse(copy, length, h);
    if (h->unique_id != NULL) /* into what is freed now */
        h->unique_id = (const uint8_t *)bytes + (h->unique_id - copy);
    free(copy);
    return status;
}

static void assert_addresses(const struct proxy_header *h, const char *source,
                             const char *destination)
{
    char text[NET_TEXT_MAX];
    assert_true(h->relayed);
    net_addr_format(&h->source, text, sizeof text);
    assert_string_equal(text, source);
    net_addr_format(&h->destination, text, sizeof text);
    assert_string_equal(text, destination);
}

/* Each beginning is a part, the whole is whole, and what follows is nobody's. */
static void every_split(const struct bytes *b, struct proxy_header *h)
{
    struct bytes longer = *b;
    for (size_t i = 0; i < b->length; i++) {
        if (parse(b->at, i, h) != PROXY_PARTIAL)
            fail_msg("%zu of %zu bytes: %s", i, b->length, h->problem);
    }
    add(&longer, "\x16\x03\x01 and more", 12);
    assert_int_equal(parse(longer.at, longer.length, h), PROXY_WHOLE);
    assert_int_equal(h->length, b->length);
    assert_int_equal(parse(b->at, b->length, h), PROXY_WHOLE);
    assert_int_equal(h->length, b->length);
}

static struct bytes line_of(const char *text)
{
    struct bytes b = {.length = 0};
    add(&b, text, strlen(text));
    return b;
}

static void lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *source, *destination; /* source NULL: not relayed */
    } rows[] = {
        {"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n", "192.0.2.1:40000", "198.51.100.2:443"},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535",
         "255.255.255.255:65535"},
        {"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0", "0.0.0.0:0"},
        {"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1", "[::1]:2"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF 65535 65535\r\n",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
        {"PROXY UNKNOWN\r\n", NULL, NULL},
        {"PROXY UNKNOWN what \x01\xff ever\r\n", NULL, NULL},
        {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         NULL, NULL}, /* 107 characters */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proxy_header h;
        const struct bytes b = line_of(rows[i].line);
        every_split(&b, &h);
        assert_int_equal(h.version, 1);
        assert_int_equal(h.relayed, rows[i].source != NULL);
        if (rows[i].source != NULL)
            assert_addresses(&h, rows[i].source, rows[i].destination);
    }
}

static void wrong_lines(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "GET / HTTP/1.1\r\n\r\n",
        "\x16\x03\x01\x02",
        "PRAXY",
        "PROXY\r\n",
        "PROXYTCP4",
        "proxy TCP4 192.0.2.1 198.51.100.2 40000 443\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.2 40000 443\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 40000 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 40000 443 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 40000 443 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 40000\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2\r\n",
        "PROXY TCP4\r\n",
        "PROXY \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\rx",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 99999999999999999999 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 040 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 40000 00\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 \t\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 40000 443\r\n",
        "PROXY TCP4 192.0.2 198.51.100.2 40000 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.2 40000 443\r\n",
        "PROXY TCP4 2001:db8::1 198.51.100.2 40000 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 40000 443\r\n",
        "PROXY TCP6 2001:db8::1%lo ::1 1 2\r\n",
        "PROXY TCP6 2001:db8::1 [::1] 1 2\r\n",
        "PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n",
        "PROXY TCP6 111112222233333444445555566666777778888899999 ::1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 40000 443\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY UNKNOWN \n\r\n",
        "PROXY UNKNOWN \r \r\n",
        ("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 655350\r\n"), /* 108 */
        ("PROXY UNKNOWN 3456789 123456789 123456789 123456789 123456789 123456789 123456789 "
         "123456789 123456789 123456"), /* 107 without an end */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proxy_header h;
        if (parse(rows[i], strlen(rows[i]), &h) != PROXY_WRONG)
            fail_msg("taken: %s", rows[i]);
        assert_non_null(h.problem);
        assert_false(h.relayed);
    }
    /* A zero in an address would end a text early. */
    struct proxy_header h;
    static const char zero[] = "PROXY TCP4 192.0.2.1\0 198.51.100.2 40000 443\r\n";
    assert_int_equal(parse(zero, sizeof zero - 1, &h), PROXY_WRONG);
}

static void binary(void **state)
{
    (void)state;
    struct proxy_header h;
    uint8_t six[36] = {[0] = 0x20, [1] = 0x01, [15] = 1, [31] = 2, [32] = 1, [33] = 2, [35] = 80};
    struct bytes b = begin(0x21, 0x11, 12);
    add(&b, inet, sizeof inet);
    every_split(&b, &h);
    assert_int_equal(h.version, 2);
    assert_addresses(&h, "192.0.2.1:40000", "198.51.100.2:443");
    assert_null(h.unique_id);

    b = begin(0x21, 0x21, 36);
    add(&b, six, sizeof six);
    every_split(&b, &h);
    assert_addresses(&h, "[2001::1]:258", "[::2]:80");
}

static void unix_paths(void **state)
{
    (void)state;
    static const struct {
        char path[108];
        size_t length;
        const char *shown;
    } rows[] = {
        {"/run/x", 6, "unix:/run/x"},
        {"", 0, "unix:"},
        {"\0name", 5, "unix:@name"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proxy_header h;
        uint8_t paths[216] = {0};
        memcpy(paths, rows[i].path, rows[i].length);
        memset(paths + 108, 'p', 108); /* fills it to the last byte */
        struct bytes b = begin(0x21, 0x31, 216);
        add(&b, paths, sizeof paths);
        every_split(&b, &h);
        char text[NET_TEXT_MAX];
        net_addr_format(&h.source, text, sizeof text);
        assert_string_equal(text, rows[i].shown);
        assert_int_equal(h.destination.u.sa.sa_family, AF_UNIX);
        net_addr_format(&h.destination, text, sizeof text);
        assert_int_equal(strlen(text), strlen("unix:") + 108);
    }
}

/* The connection's own addresses hold; the block behind is skipped whatever it is. */
static void nothing_said(void **state)
{
    (void)state;
    static const struct {
        unsigned command, family;
        size_t length;
    } rows[] = {
        {0x20, 0x00, 0},  {0x20, 0x11, 12}, {0x20, 0xff, 7},   {0x20, 0x31, 0},
        {0x21, 0x00, 0},  {0x21, 0x00, 50}, {0x21, 0x10, 3},   {0x21, 0x01, 1},
        {0x21, 0x12, 12}, {0x21, 0x22, 36}, {0x21, 0x32, 216}, {0x20, 0x00, 216 + 4096},
    };
    static const uint8_t garbage[216 + 4096] = {[1] = 0x11, [2] = 0xff, [3] = 0x03};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proxy_header h;
        struct bytes b = begin(rows[i].command, rows[i].family, rows[i].length);
        add(&b, garbage, rows[i].length);
        every_split(&b, &h);
        assert_false(h.relayed);
    }
}

static void wrong_binary(void **state)
{
    (void)state;
    static const struct {
        unsigned command, family;
        size_t length;
        size_t shows_at; /* so many bytes are enough to tell */
    } rows[] = {
        {0x11, 0x11, 12, 13},   {0x31, 0x11, 12, 13},         {0x22, 0x11, 12, 13},
        {0x2f, 0x11, 12, 13},   {0x21, 0x41, 12, 14},         {0x21, 0xf1, 12, 14},
        {0x21, 0x13, 12, 14},   {0x21, 0x11, 11, 27},         {0x21, 0x21, 35, 51},
        {0x21, 0x31, 215, 231}, {0x21, 0x11, 216 + 4097, 16}, {0x20, 0x00, 65535, 16},
        {0x21, 0x11, 0, 16},
    };
    static const uint8_t zeroes[216 + 4096];
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proxy_header h;
        struct bytes b = begin(rows[i].command, rows[i].family, rows[i].length);
        add(&b, zeroes, rows[i].length < sizeof zeroes ? rows[i].length : sizeof zeroes);
        if (parse(b.at, rows[i].shows_at - 1, &h) != PROXY_PARTIAL)
            fail_msg("row %zu: told too early", i);
        if (parse(b.at, rows[i].shows_at, &h) != PROXY_WRONG)
            fail_msg("row %zu: was taken", i);
        assert_non_null(h.problem);
    }
    struct proxy_header h;
    struct bytes b = begin(0x21, 0x11, 12);
    for (size_t i = 0; i < 12; i++) { /* each byte of the signature counts */
        struct bytes spoilt = b;
        spoilt.at[i] ^= 0x40;
        assert_int_equal(parse(spoilt.at, i, &h), PROXY_PARTIAL);
        assert_int_equal(parse(spoilt.at, i + 1, &h), PROXY_WRONG);
    }
}

static void tlvs(void **state)
{
    (void)state;
    static uint8_t filler[PROXY_TLVS_MAX];
    struct proxy_header h;
    struct bytes b = begin(0x21, 0x11, 0);
    add(&b, inet, sizeof inet);
    add_tlv(&b, 0x04, "", 0); /* NOOP */
    add_tlv(&b, 0xea, "whatever", 8);
    add_tlv(&b, 0x05, "id-of-it", 8);
    add_tlv(&b, 0x02, "example.com", 11);
    set_length(&b);
    every_split(&b, &h);
    assert_addresses(&h, "192.0.2.1:40000", "198.51.100.2:443");
    assert_int_equal(h.unique_id_length, 8);
    assert_memory_equal(h.unique_id, "id-of-it", 8);

    /* As many as may be, and one byte more. */
    for (size_t extra = 0; extra < 2; extra++) {
        uint8_t paths[216] = {'/'};
        b = begin(0x21, 0x31, 0);
        add(&b, paths, sizeof paths);
        add_tlv(&b, 0x30, filler, PROXY_TLVS_MAX - 3 + extra);
        set_length(&b);
        if (extra == 0)
            every_split(&b, &h);
        else
            assert_int_equal(parse(b.at, b.length, &h), PROXY_WRONG);
    }

    /* Bytes left over that are no TLV, and one that is longer than what is left. */
    for (size_t left = 1; left <= 2; left++) {
        b = begin(0x21, 0x11, 0);
        add(&b, inet, sizeof inet);
        add_tlv(&b, 0x04, "x", 1);
        add(&b, filler, left);
        set_length(&b);
        assert_int_equal(parse(b.at, b.length, &h), PROXY_WRONG);
    }
    b = begin(0x21, 0x11, 0);
    add(&b, inet, sizeof inet);
    add_tlv(&b, 0x01, "h2", 2);
    set_length(&b);
    b.at[30]++; /* its length */
    assert_int_equal(parse(b.at, b.length, &h), PROXY_WRONG);

    for (size_t size = PROXY_UNIQUE_ID_MAX; size <= PROXY_UNIQUE_ID_MAX + 1; size++) {
        b = begin(0x21, 0x11, 0);
        add(&b, inet, sizeof inet);
        add_tlv(&b, 0x05, filler, size);
        set_length(&b);
        assert_int_equal(parse(b.at, b.length, &h),
                         size == PROXY_UNIQUE_ID_MAX ? PROXY_WHOLE : PROXY_WRONG);
    }
}

static void checksums(void **state)
{
    (void)state;
    struct proxy_header h;
    /* The check value of CRC-32/ISCSI. */
    assert_int_equal(proxy_crc32c(0, (const uint8_t *)"123456789", 9), 0xe3069283);
    uint32_t parts = proxy_crc32c(0, (const uint8_t *)"1234", 4);
    assert_int_equal(proxy_crc32c(parts, (const uint8_t *)"56789", 5), 0xe3069283);

    struct bytes b = begin(0x21, 0x11, 0);
    add(&b, inet, sizeof inet);
    add_tlv(&b, 0x03, "\0\0\0\0", 4);
    add_tlv(&b, 0x02, "example.com", 11);
    set_length(&b);
    const uint32_t sum = proxy_crc32c(0, b.at, b.length);
    for (size_t i = 0; i < 4; i++)
        b.at[31 + i] = (uint8_t)(sum >> (24 - 8 * i));
    every_split(&b, &h);
    for (size_t i = 16; i < b.length; i++) { /* whatever is spoilt but that there is a sum */
        struct bytes spoilt = b;
        if (i == 28)
            continue;
        spoilt.at[i] ^= 1;
        assert_int_equal(parse(spoilt.at, b.length, &h), PROXY_WRONG);
    }
    struct bytes twice = b;
    add_tlv(&twice, 0x03, "\0\0\0\0", 4);
    set_length(&twice);
    assert_int_equal(parse(twice.at, twice.length, &h), PROXY_WRONG);
    struct bytes brief = begin(0x21, 0x11, 0);
    add(&brief, inet, sizeof inet);
    add_tlv(&brief, 0x03, "\0\0\0", 3);
    set_length(&brief);
    assert_int_equal(parse(brief.at, brief.length, &h), PROXY_WRONG);
}

/* ---- what is sent ---- */

static struct net_addr address(const char *host, uint16_t port)
{
    struct net_addr a;
    if (host[0] == '/')
        net_addr_from_path(&a, host);
    else
        assert_true(net_addr_from_literal(&a, host, port));
    return a;
}

static void sent_lines(void **state)
{
    (void)state;
    static const struct {
        const char *source, *destination, *line;
    } rows[] = {
        {"192.0.2.1", "198.51.100.2", "PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n"},
        {"2001:db8::1", "::1", "PROXY TCP6 2001:db8::1 ::1 40000 443\r\n"},
        {"::ffff:192.0.2.1", "::ffff:198.51.100.2",
         "PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n"},
        {"192.0.2.1", "2001:db8::1", "PROXY UNKNOWN\r\n"},
        {"/a", "/b", "PROXY UNKNOWN\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t bytes[PROXY_HEADER_MAX];
        struct proxy_header h;
        const struct net_addr from = address(rows[i].source, 40000);
        const struct net_addr to = address(rows[i].destination, 443);
        const struct proxy_words w = {.version = 1, .source = &from, .destination = &to};
        const size_t length = proxy_header_build(bytes, &w);
        assert_int_equal(length, strlen(rows[i].line));
        assert_memory_equal(bytes, rows[i].line, length);
        assert_int_equal(parse(bytes, length, &h), PROXY_WHOLE);
    }
    uint8_t bytes[PROXY_HEADER_MAX];
    const struct proxy_words nobody = {.version = 1};
    assert_int_equal(proxy_header_build(bytes, &nobody), strlen("PROXY UNKNOWN\r\n"));
}

static void sent_binary(void **state)
{
    (void)state;
    static const struct {
        const char *source, *destination;
        unsigned command, family;
    } rows[] = {
        {"192.0.2.1", "198.51.100.2", 0x21, 0x11},
        {"2001:db8::1", "::1", 0x21, 0x21},
        {"::ffff:192.0.2.1", "::ffff:198.51.100.2", 0x21, 0x11},
        {"/run/a", "/run/b", 0x21, 0x31},
        {"192.0.2.1", "/run/b", 0x21, 0x00},
        {NULL, NULL, 0x20, 0x00},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t bytes[PROXY_HEADER_MAX];
        struct proxy_header h;
        struct net_addr from, to;
        struct proxy_words w = {.version = 2,
                                .unique_id = (const uint8_t *)"77",
                                .unique_id_length = 2,
                                .checksum = true};
        if (rows[i].source != NULL) {
            from = address(rows[i].source, 40000);
            to = address(rows[i].destination, 443);
            w.source = &from;
            w.destination = &to;
        }
        const size_t length = proxy_header_build(bytes, &w);
        assert_int_equal(bytes[12], rows[i].command);
        assert_int_equal(bytes[13], rows[i].family);
        assert_int_equal(parse(bytes, length, &h), PROXY_WHOLE);
        assert_int_equal(h.length, length);
        assert_int_equal(h.relayed, rows[i].family != 0);
        if (rows[i].family == 0)
            continue;
        assert_int_equal(h.unique_id_length, 2);
        if (rows[i].source[0] != ':') {
            assert_true(net_addr_equal(&h.source, &from));
            assert_true(net_addr_equal(&h.destination, &to));
        } else {
            assert_addresses(&h, "192.0.2.1:40000", "198.51.100.2:443");
        }
    }
}

/* The value of the first TLV of that type at or behind `at`, up to `end`; NULL: there is none. */
static const uint8_t *find_tlv(const uint8_t *at, const uint8_t *end, unsigned type,
                               size_t *length_r)
{
    while (at + 3 <= end) {
        *length_r = (size_t)at[1] << 8 | at[2];
        if (at[0] == type)
            return at + 3;
        at += 3 + *length_r;
    }
    return NULL;
}

static void assert_tlv(const uint8_t *at, const uint8_t *end, unsigned type, const char *text)
{
    size_t length = 0;
    const uint8_t *value = find_tlv(at, end, type, &length);
    if (text == NULL) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    assert_int_equal(length, strlen(text));
    assert_memory_equal(value, text, length);
}

static void sent_tls(void **state)
{
    (void)state;
    static const struct {
        struct proxy_tls tls;
        unsigned client, verify;
        const char *cn;
    } rows[] = {
        {{.version = "TLSv1.3", .cipher = "C"}, 1, 1, NULL},
        /* A name without a certificate is nobody's. */
        {{.version = "TLSv1.3", .cipher = "C", .common_name = "x", .verified = true}, 1, 1, NULL},
        {{.version = "TLSv1.3",
          .cipher = "C",
          .common_name = "x",
          .has_cert = true,
          .showed_cert = true},
         7,
         1,
         "x"},
        {{.version = "TLSv1.3",
          .cipher = "C",
          .common_name = "x",
          .has_cert = true,
          .showed_cert = true,
          .verified = true},
         7,
         0,
         "x"},
        {{.version = "TLSv1.3",
          .cipher = "C",
          .common_name = "x",
          .has_cert = true,
          .verified = true},
         5,
         0,
         "x"},
    };
    const struct net_addr from = address("192.0.2.1", 1), to = address("192.0.2.2", 2);
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t bytes[PROXY_HEADER_MAX];
        size_t size = 0;
        const struct proxy_words w = {.version = 2,
                                      .source = &from,
                                      .destination = &to,
                                      .tls = &rows[i].tls,
                                      .alpn = "h2",
                                      .authority = "a.test",
                                      .checksum = true};
        const uint8_t *end = bytes + proxy_header_build(bytes, &w);
        assert_tlv(bytes + 28, end, 0x01, "h2");
        assert_tlv(bytes + 28, end, 0x02, "a.test");
        assert_tlv(bytes + 28, end, 0x05, NULL);
        const uint8_t *ssl = find_tlv(bytes + 28, end, 0x20, &size);
        assert_non_null(ssl);
        if (ssl == NULL)
            return;
        assert_int_equal(ssl[0], rows[i].client);
        assert_int_equal(ssl[1] | ssl[2] | ssl[3], 0);
        assert_int_equal(ssl[4], rows[i].verify);
        assert_tlv(ssl + 5, ssl + size, 0x21, "TLSv1.3");
        assert_tlv(ssl + 5, ssl + size, 0x22, rows[i].cn);
        assert_tlv(ssl + 5, ssl + size, 0x23, "C");
        assert_tlv(ssl + 5, ssl + size, 0x24, NULL);
        struct proxy_header h;
        assert_int_equal(parse(bytes, (size_t)(end - bytes), &h), PROXY_WHOLE);
    }
}

/* Nothing is cut, and nothing written past the end. */
static void sent_too_long(void **state)
{
    (void)state;
    static char name[PROXY_HEADER_MAX + 1];
    memset(name, 'n', sizeof name - 1);
    const struct net_addr from = address("/a", 0), to = address("/b", 0);
    for (size_t length = 3900; length < sizeof name; length++) {
        uint8_t *bytes = malloc(PROXY_HEADER_MAX);
        struct proxy_header h;
        name[length] = '\0';
        const struct proxy_tls tls = {.version = "TLSv1.3", .has_cert = true, .common_name = "cn"};
        const struct proxy_words w = {.version = 2,
                                      .source = &from,
                                      .destination = &to,
                                      .authority = name,
                                      .tls = &tls,
                                      .checksum = true};
        assert_non_null(bytes);
        const size_t made = proxy_header_build(bytes, &w);
        assert_true(made <= PROXY_HEADER_MAX);
        assert_int_equal(parse(bytes, made, &h), PROXY_WHOLE);
        assert_int_equal(h.length, made);
        free(bytes);
        name[length] = 'n';
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),        cmocka_unit_test(wrong_lines),
        cmocka_unit_test(binary),       cmocka_unit_test(unix_paths),
        cmocka_unit_test(nothing_said), cmocka_unit_test(wrong_binary),
        cmocka_unit_test(tlvs),         cmocka_unit_test(checksums),
        cmocka_unit_test(sent_lines),   cmocka_unit_test(sent_binary),
        cmocka_unit_test(sent_tls),     cmocka_unit_test(sent_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
