/* HTTP CONNECT and SOCKS5. */
#include "dialogue_script.h"

#include <stdio.h>

#define HTTP                                                                                       \
    {                                                                                              \
        .protocol = DIALOGUE_HTTP, .host = "cloud.example", .port = 443                            \
    }
#define HTTP_AS                                                                                    \
    {                                                                                              \
        .protocol = DIALOGUE_HTTP, .host = "cloud.example", .port = 443, .user = "Aladdin",        \
        .password = "open sesame"                                                                  \
    }
#define SOCKS                                                                                      \
    {                                                                                              \
        .protocol = DIALOGUE_SOCKS5, .host = "cloud.example", .port = 443                          \
    }
#define SOCKS_AS                                                                                   \
    {                                                                                              \
        .protocol = DIALOGUE_SOCKS5, .host = "cloud.example", .port = 443, .user = "me",           \
        .password = "secret"                                                                       \
    }
#define ASK       B("CONNECT cloud.example:443 HTTP/1.1\r\nHost: cloud.example:443\r\n\r\n")
#define HELLO     B("\5\1\0")
#define HELLO_AS  B("\5\2\0\2")
#define LOGIN     B("\1\2me\6secret")
#define ASK_SOCKS B("\5\1\0\3\15cloud.example\1\273")
#define HTTP_REFUSES(reply, why, what, how)                                                        \
    {                                                                                              \
        .name = (reply), .order = HTTP, .talk = {{ASK, B(reply "\r\n")}}, .fault = (why),          \
        .error = (what), .remedy = (how)                                                           \
    }
#define SOCKS_REFUSES(byte, why, what, how)                                                        \
    {                                                                                              \
        .name = (what), .order = SOCKS, .talk = {{HELLO, B("\5\0")}, {ASK_SOCKS, B("\5" byte)}},   \
        .fault = (why), .error = (what), .remedy = (how)                                           \
    }

static const struct script http[] = {
    {"200",
     HTTP,
     {{ASK, B("HTTP/1.1 200 Connection established\r\n\r\n")}},
     0,
     NULL,
     NULL,
     B(""),
     B(""),
     false},
    {"204 with headers, LF alone",
     HTTP,
     {{ASK, B("HTTP/1.0 204\nVia: a\n goes on\nContent-Length: 5\n\n")}},
     0,
     NULL,
     NULL,
     B(""),
     B(""),
     false},
    {"the tunnel's first bytes",
     HTTP,
     {{ASK, B("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n220 hello\r\n")}},
     0,
     NULL,
     NULL,
     B(""),
     B("220 hello\r\n"),
     false},
    {"interim answers",
     HTTP,
     {{ASK, B("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
              "HTTP/1.1 200 OK\r\n\r\n")}},
     0,
     NULL,
     NULL,
     B(""),
     B(""),
     false},
    {"credentials (RFC 7617 2)",
     HTTP_AS,
     {{B("CONNECT cloud.example:443 HTTP/1.1\r\nHost: cloud.example:443\r\n"
         "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
       B("HTTP/1.1 200 OK\r\n\r\n")}},
     0,
     NULL,
     NULL,
     B(""),
     B(""),
     false},
    {"an IPv6 literal",
     {.protocol = DIALOGUE_HTTP, .host = "2001:db8::1", .port = 8443},
     {{B("CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\r\n"),
       B("HTTP/1.1 200 OK\r\n\r\n")}},
     0,
     NULL,
     NULL,
     B(""),
     B(""),
     false},
    {"407 and no credentials",
     HTTP,
     {{ASK, B("HTTP/1.1 407 Proxy Authentication Required\r\n"
              "Proxy-Authenticate: Negotiate, BASIC realm=\"x\"\r\n\r\n<html>")}},
     DIALOGUE_FAULT_DENIED,
     "refused: 407 Proxy Authentication Required",
     "proxy_credentials",
     B(""),
     B(""),
     false},
    {"407 and wrong ones",
     HTTP_AS,
     {{B("CONNECT cloud.example:443 HTTP/1.1\r\nHost: cloud.example:443\r\n"
         "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
       B("HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\n\r\n")}},
     DIALOGUE_FAULT_DENIED,
     "refused: 407 No",
     "check user and password",
     B(""),
     B(""),
     false},
    {"407 and a scheme we have not",
     HTTP_AS,
     {{B("CONNECT cloud.example:443 HTTP/1.1\r\nHost: cloud.example:443\r\n"
         "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
       B("HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\n\r\n")}},
     DIALOGUE_FAULT_DENIED,
     "refused: 407 No",
     "Basic credentials alone",
     B(""),
     B(""),
     false},
    HTTP_REFUSES("HTTP/1.1 403 Forbidden\r\n", DIALOGUE_FAULT_DENIED, "refused: 403 Forbidden",
                 "let the proxy's rules"),
    HTTP_REFUSES("HTTP/1.1 405 No\r\nAllow: GET\r\n", DIALOGUE_FAULT_DENIED, "405",
                 "allow CONNECT"),
    HTTP_REFUSES("HTTP/1.1 502 Bad Gateway\r\n", DIALOGUE_FAULT_UNREACHABLE, "502 Bad Gateway",
                 "does not get through"),
    HTTP_REFUSES("HTTP/1.1 503 x\r\n", DIALOGUE_FAULT_UNREACHABLE, "503", "does not get through"),
    HTTP_REFUSES("HTTP/1.1 504 x\r\n", DIALOGUE_FAULT_UNREACHABLE, "504", "in time"),
    HTTP_REFUSES("HTTP/1.1 400 Bad\r\n", DIALOGUE_FAULT_GARBAGE, "400 Bad", "forward proxy"),
    HTTP_REFUSES("HTTP/1.1 302 Found\r\nLocation: /\r\n", DIALOGUE_FAULT_DENIED, "302 Found",
                 "log"),
    HTTP_REFUSES("HTTP/1.1 403 \33[31m\"\r\n", DIALOGUE_FAULT_DENIED, "403 \\x1b[31m\\x22",
                 "rules"),
    HTTP_REFUSES("HTTP/1.1 101 Switching Protocols\r\n", DIALOGUE_FAULT_GARBAGE, "no sense", NULL),
    HTTP_REFUSES("HTTP/2 200\r\n", DIALOGUE_FAULT_GARBAGE, "not HTTP/1", "speaks HTTP"),
    HTTP_REFUSES("HTTP/1.1 20\r\n", DIALOGUE_FAULT_GARBAGE, "not HTTP/1", "speaks HTTP"),
    HTTP_REFUSES("HTTP/1.1 2000\r\n", DIALOGUE_FAULT_GARBAGE, "not HTTP/1", "speaks HTTP"),
    HTTP_REFUSES("HTTP/1.1  200\r\n", DIALOGUE_FAULT_GARBAGE, "not HTTP/1", "speaks HTTP"),
    HTTP_REFUSES("HTTP/1.1 600 x\r\n", DIALOGUE_FAULT_GARBAGE, "not HTTP/1", "speaks HTTP"),
    HTTP_REFUSES("HTTP/1.1 200 OK\r\nno colon\r\n", DIALOGUE_FAULT_GARBAGE, "without a name", NULL),
    HTTP_REFUSES("HTTP/1.1 200 OK\r\n: x\r\n", DIALOGUE_FAULT_GARBAGE, "without a name", NULL),
    HTTP_REFUSES("HTTP/1.1 200 OK\r\nA: \0\r\n", DIALOGUE_FAULT_GARBAGE, "lines of text", NULL),
    HTTP_REFUSES("HTTP/1.1 200 OK\r\nA: b\rc\r\n", DIALOGUE_FAULT_GARBAGE, "lines of text", NULL),
    HTTP_REFUSES("\x15\x03\x03\x00\x02\x02\x32", DIALOGUE_FAULT_GARBAGE, "not HTTP/1", "https://"),
    HTTP_REFUSES("SSH-2.0-x", DIALOGUE_FAULT_GARBAGE, "not HTTP/1", "speaks HTTP"),
};

static void test_http(void **state)
{
    (void)state;
    play_all(http, sizeof http / sizeof http[0]);
}

static void test_http_bounds(void **state)
{
    (void)state;
    const struct dialogue_order order = HTTP;
    static char flood[9000];
    memset(flood, 'a', sizeof flood);

    struct dialogue *d = dialogue_create(&order); /* a line that does not end */
    hear(d, (struct bytes)B("HTTP/1.1 200 "), SIZE_MAX);
    hear(d, (struct bytes){flood, sizeof flood}, 100);
    assert_int_equal(d->fault, DIALOGUE_FAULT_GARBAGE);
    assert_non_null(strstr(d->error, "8192 bytes"));
    dialogue_destroy(&d);

    d = dialogue_create(&order); /* lines that do not end */
    hear(d, (struct bytes)B("HTTP/1.1 200 OK\r\n"), SIZE_MAX);
    for (int i = 0; i < 17000 && d->state == DIALOGUE_MORE; i++)
        hear(d, (struct bytes)B("a:b\n"), SIZE_MAX);
    assert_int_equal(d->fault, DIALOGUE_FAULT_GARBAGE);
    assert_non_null(strstr(d->error, "64 KiB"));
    dialogue_destroy(&d);

    d = dialogue_create(&order); /* interim answers that do not end */
    for (int i = 0; i < 20 && d->state == DIALOGUE_MORE; i++)
        hear(d, (struct bytes)B("HTTP/1.1 100 Continue\r\n\r\n"), SIZE_MAX);
    assert_int_equal(d->fault, DIALOGUE_FAULT_GARBAGE);
    dialogue_destroy(&d);
}

static const struct script socks[] = {
    {"open",
     SOCKS,
     {{HELLO, B("\5\0")}, {ASK_SOCKS, B("\5\0\0\1\1\2\3\4\0\120")}},
     0,
     NULL,
     NULL,
     B(""),
     B(""),
     false},
    {"bound to a name, and the tunnel's first bytes",
     SOCKS,
     {{HELLO, B("\5\0")}, {ASK_SOCKS, B("\5\0\0\3\3abc\0\120+OK\r\n")}},
     0,
     NULL,
     NULL,
     B(""),
     B("+OK\r\n"),
     false},
    {"bound to IPv6",
     SOCKS,
     {{HELLO, B("\5\0")}, {ASK_SOCKS, B("\5\0\0\4abcdefghijklmnop\0\120")}},
     0,
     NULL,
     NULL,
     B(""),
     B(""),
     false},
    {"an empty name",
     SOCKS,
     {{HELLO, B("\5\0")}, {ASK_SOCKS, B("\5\0\0\3\0\0\120")}},
     0,
     NULL,
     NULL,
     B(""),
     B(""),
     false},
    {"user and password",
     SOCKS_AS,
     {{HELLO_AS, B("\5\2")}, {LOGIN, B("\1\0")}, {ASK_SOCKS, B("\5\0\0\1\1\2\3\4\0\120")}},
     0,
     NULL,
     NULL,
     B(""),
     B(""),
     false},
    {"user and password not asked for",
     SOCKS_AS,
     {{HELLO_AS, B("\5\0")}, {ASK_SOCKS, B("\5\0\0\1\1\2\3\4\0\120")}},
     0,
     NULL,
     NULL,
     B(""),
     B(""),
     false},
    {"to IPv4",
     {.protocol = DIALOGUE_SOCKS5, .host = "192.0.2.7", .port = 80},
     {{HELLO, B("\5\0")}, {B("\5\1\0\1\300\0\2\7\0\120"), B("\5\0\0\1\1\2\3\4\0\120")}},
     0,
     NULL,
     NULL,
     B(""),
     B(""),
     false},
    {"to IPv6",
     {.protocol = DIALOGUE_SOCKS5, .host = "::1", .port = 80},
     {{HELLO, B("\5\0")},
      {B("\5\1\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\120"), B("\5\0\0\1\1\2\3\4\0\120")}},
     0,
     NULL,
     NULL,
     B(""),
     B(""),
     false},
    {"no way to log in",
     SOCKS,
     {{HELLO, B("\5\377")}},
     DIALOGUE_FAULT_DENIED,
     "none of the ways",
     "proxy_credentials",
     B(""),
     B(""),
     false},
    {"no way to log in, with a password",
     SOCKS_AS,
     {{HELLO_AS, B("\5\377")}},
     DIALOGUE_FAULT_DENIED,
     "none of the ways",
     "RFC 1929",
     B(""),
     B(""),
     false},
    {"a way that was not offered",
     SOCKS,
     {{HELLO, B("\5\2")}},
     DIALOGUE_FAULT_GARBAGE,
     "not offered",
     NULL,
     B(""),
     B(""),
     false},
    {"a wrong password",
     SOCKS_AS,
     {{HELLO_AS, B("\5\2")}, {LOGIN, B("\1\1")}},
     DIALOGUE_FAULT_DENIED,
     "refused the user and password",
     "check user",
     B(""),
     B(""),
     false},
    {"a wrong version of the login",
     SOCKS_AS,
     {{HELLO_AS, B("\5\2")}, {LOGIN, B("\5\0")}},
     DIALOGUE_FAULT_GARBAGE,
     "not SOCKS5",
     "speaks SOCKS5",
     B(""),
     B(""),
     false},
    {"an answer before the request",
     SOCKS,
     {{HELLO, B("\5\0\5\0\0\1\1\2\3\4\0\120")}},
     DIALOGUE_FAULT_INJECTED,
     "10 bytes that nothing had asked for",
     "tcpdump",
     B(""),
     B(""),
     true},
    {"SOCKS4",
     SOCKS,
     {{HELLO, B("\0\132")}},
     DIALOGUE_FAULT_GARBAGE,
     "SOCKS4",
     "SOCKS5",
     B(""),
     B(""),
     false},
    {"HTTP",
     SOCKS,
     {{HELLO, B("HTTP/1.1 400 Bad\r\n")}},
     DIALOGUE_FAULT_GARBAGE,
     "not SOCKS5",
     "http://",
     B(""),
     B(""),
     false},
    {"an unknown address",
     SOCKS,
     {{HELLO, B("\5\0")}, {ASK_SOCKS, B("\5\0\0\2\1\2\3\4\0\120")}},
     DIALOGUE_FAULT_GARBAGE,
     "unknown kind of address (2)",
     NULL,
     B(""),
     B(""),
     false},
    SOCKS_REFUSES("\1", DIALOGUE_FAULT_UNREACHABLE, "general failure", "log"),
    SOCKS_REFUSES("\2", DIALOGUE_FAULT_DENIED, "rules do not allow", "let the proxy's rules"),
    SOCKS_REFUSES("\3", DIALOGUE_FAULT_UNREACHABLE, "network is unreachable", "reach"),
    SOCKS_REFUSES("\4", DIALOGUE_FAULT_UNREACHABLE, "host is unreachable", "reach"),
    SOCKS_REFUSES("\5", DIALOGUE_FAULT_UNREACHABLE, "upstream refused", "listens"),
    SOCKS_REFUSES("\6", DIALOGUE_FAULT_UNREACHABLE, "TTL", "routes"),
    SOCKS_REFUSES("\7", DIALOGUE_FAULT_DENIED, "command CONNECT", "allow CONNECT"),
    SOCKS_REFUSES("\10", DIALOGUE_FAULT_DENIED, "kind of address", "as a name"),
    SOCKS_REFUSES("\11", DIALOGUE_FAULT_GARBAGE, "code that RFC 1928 does not have (9)", NULL),
};

static void test_socks5(void **state)
{
    (void)state;
    play_all(socks, sizeof socks / sizeof socks[0]);
}

/* What can be said: bounds, and nothing that would end a line or a name. */
static void refuse_words(enum dialogue_protocol protocol, const char *host, const char *user,
                         const char *password)
{
    const struct dialogue_order order = {protocol, host, 1, user, password};
    const uint8_t *bytes;
    struct dialogue *d = dialogue_create(&order);
    assert_int_equal(d->state, DIALOGUE_FAILED);
    assert_int_equal(d->fault, DIALOGUE_FAULT_WORDS);
    assert_int_equal(dialogue_pending(d, &bytes), 0);
    if (password != NULL && password[0] != 0)
        assert_null(strstr(d->error, password));
    dialogue_destroy(&d);
}

static void test_words(void **state)
{
    (void)state;
    char many[5000];
    memset(many, 'x', sizeof many);
    many[4097] = '\0';
    refuse_words(DIALOGUE_HTTP, "a\r\nb", NULL, NULL);
    refuse_words(DIALOGUE_HTTP, "a b", NULL, NULL);
    refuse_words(DIALOGUE_HTTP, "", NULL, NULL);
    refuse_words(DIALOGUE_HTTP, many, NULL, NULL);
    refuse_words(DIALOGUE_XMPP, "a'b", NULL, NULL);
    refuse_words(DIALOGUE_HTTP, "a", many, "#p#");
    refuse_words(DIALOGUE_HTTP, "a", "u", many);
    refuse_words(DIALOGUE_HTTP, "a", "u:v", "#p#");
    many[256] = '\0';
    refuse_words(DIALOGUE_SOCKS5, "a", many, "#p#");
    refuse_words(DIALOGUE_SOCKS5, "a", "u", many);
    refuse_words(DIALOGUE_SOCKS5, "a", "", "#p#");
    refuse_words(DIALOGUE_SOCKS5, "a", "u", "");
    refuse_words(DIALOGUE_SOCKS5, many, NULL, NULL);

    many[255] = '\0'; /* the longest */
    const struct dialogue_order longest = {DIALOGUE_SOCKS5, many, 1, many, many};
    const uint8_t *bytes;
    struct dialogue *d = dialogue_create(&longest);
    dialogue_sent(d, 4);
    dialogue_feed(d, "\5\2", 2);
    assert_int_equal(dialogue_pending(d, &bytes), 1 + 1 + 255 + 1 + 255);
    dialogue_sent(d, 513);
    dialogue_feed(d, "\1\0", 2);
    assert_int_equal(dialogue_pending(d, &bytes), 4 + 1 + 255 + 2);
    assert_int_equal(bytes[4], 255);
    dialogue_destroy(&d);
}

/* base64 of each length modulo three: RFC 4648 10. */
static void test_base64(void **state)
{
    static const struct {
        const char *user, *password, *coded;
    } known[] = {{"", "", "Og=="}, {"a", "", "YTo="}, {"a", "b", "YTpi"}, {"a", "bc", "YTpiYw=="}};
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const struct dialogue_order order = {DIALOGUE_HTTP, "h", 1, known[i].user,
                                             known[i].password};
        char expected[200];
        struct dialogue *d = dialogue_create(&order);
        (void)snprintf(expected, sizeof expected,
                       "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nProxy-Authorization: Basic "
                       "%s\r\n\r\n",
                       known[i].coded);
        assert_says("base64", d, (struct bytes){expected, strlen(expected)});
        dialogue_destroy(&d);
    }
}

static void test_table(void **state)
{
    (void)state;
    assert_string_equal(dialogue_word(DIALOGUE_HTTP), "http");
    assert_string_equal(dialogue_word(DIALOGUE_FTP), "ftp");
    for (int i = 0; i < DIALOGUE_COUNT; i++)
        assert_int_equal(dialogue_is_proxy((enum dialogue_protocol)i), i <= DIALOGUE_SOCKS5);
    struct dialogue *none = NULL;
    dialogue_destroy(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http),   cmocka_unit_test(test_http_bounds),
        cmocka_unit_test(test_socks5), cmocka_unit_test(test_words),
        cmocka_unit_test(test_base64), cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
