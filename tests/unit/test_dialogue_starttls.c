/* STARTTLS: every protocol but MySQL, which has a file of its own. */
#include "dialogue_script.h"

#define NOTHING                                                                                    \
    {                                                                                              \
        NULL, 0                                                                                    \
    }
/* Scripts end with what is wrong; what is told first is what was expected before that. */
#define GOES(title, kind, kept, ...)                                                               \
    {                                                                                              \
        .name = title, .order = {.protocol = (kind), .host = "cloud.example"},                     \
        .talk = {__VA_ARGS__}, .early = kept                                                       \
    }
#define FAILS(title, kind, why, what, how, ...)                                                    \
    {                                                                                              \
        .name = title, .order = {.protocol = (kind), .host = "cloud.example"},                     \
        .talk = {__VA_ARGS__}, .fault = (why), .error = (what), .remedy = (how)                    \
    }
#define TOGETHER(title, kind, what, ...)                                                           \
    {                                                                                              \
        .name = title, .order = {.protocol = (kind), .host = "cloud.example"},                     \
        .talk = {__VA_ARGS__}, .fault = DIALOGUE_FAULT_INJECTED, .error = (what),                  \
        .remedy = "tcpdump", .together = true                                                      \
    }

#define PG_ASK B("\0\0\0\10\4\322\26\57")

static const struct script postgres[] = {
    GOES("S", DIALOGUE_POSTGRES, NOTHING, {PG_ASK, B("S")}),
    FAILS("N", DIALOGUE_POSTGRES, DIALOGUE_FAULT_NO_TLS, "does not do TLS", "ssl = on",
          {PG_ASK, B("N")}),
    FAILS("E", DIALOGUE_POSTGRES, DIALOGUE_FAULT_UNREACHABLE, "with an error", "log",
          {PG_ASK, B("E\0\0\0\11FATAL")}),
    FAILS("garbage", DIALOGUE_POSTGRES, DIALOGUE_FAULT_GARBAGE, "is not PostgreSQL", "port",
          {PG_ASK, B("220 hello\r\n")}),
    /* CVE-2021-23222 */
    FAILS("S and more", DIALOGUE_POSTGRES, DIALOGUE_FAULT_INJECTED, "bytes after its word",
          "tcpdump", {PG_ASK, B("SR")}),
};

#define EHLO  B("EHLO localhost\r\n")
#define START B("STARTTLS\r\n")
#define CAN   B("250-mx.example\r\n250-PIPELINING\r\n250-starttls\r\n250 SIZE 1\r\n")

static const struct script smtp[] = {
    GOES("goes", DIALOGUE_SMTP, B("220-mx\r\n220 ESMTP\r\n"),
         {NOTHING, B("220-mx\r\n220 ESMTP\r\n")}, {EHLO, CAN}, {START, B("220 2.0.0 go\r\n")}),
    GOES("LF alone, codes alone", DIALOGUE_SMTP, B("220\n"), {NOTHING, B("220\n")},
         {EHLO, B("250-x\n250 STARTTLS\n")}, {START, B("220\n")}),
    GOES("with a parameter", DIALOGUE_SMTP, B("220 x\r\n"), {NOTHING, B("220 x\r\n")},
         {EHLO, B("250-x\r\n250 STARTTLS now\r\n")}, {START, B("220 x\r\n")}),
    FAILS("does not offer it", DIALOGUE_SMTP, DIALOGUE_FAULT_NO_TLS, "does not offer STARTTLS",
          "turn TLS on", {NOTHING, B("220 x\r\n")},
          {EHLO, B("250-STARTTLS\r\n250-XSTARTTLS\r\n250-STARTTLSX\r\n250 AUTH STARTTLS\r\n")}),
    FAILS("EHLO refused", DIALOGUE_SMTP, DIALOGUE_FAULT_NO_TLS, "at EHLO: 502 no", "turn TLS on",
          {NOTHING, B("220 x\r\n")}, {EHLO, B("502 no\r\n")}),
    FAILS("shuts down", DIALOGUE_SMTP, DIALOGUE_FAULT_UNREACHABLE, "at EHLO: 421 bye", "log",
          {NOTHING, B("220 x\r\n")}, {EHLO, B("421 bye\r\n")}),
    FAILS("not this time", DIALOGUE_SMTP, DIALOGUE_FAULT_NO_TLS, "to begin TLS: 454 no \\x07",
          "turn TLS on", {NOTHING, B("220 x\r\n")}, {EHLO, CAN}, {START, B("454 no \7\r\n")}),
    FAILS("an answer that is not 220", DIALOGUE_SMTP, DIALOGUE_FAULT_NO_TLS, "250 ok", "turn TLS",
          {NOTHING, B("220 x\r\n")}, {EHLO, CAN}, {START, B("250 ok\r\n")}),
    FAILS("greeting", DIALOGUE_SMTP, DIALOGUE_FAULT_UNREACHABLE, "with its greeting: 554 no", "log",
          {NOTHING, B("554 no\r\n")}),
    FAILS("another code in between", DIALOGUE_SMTP, DIALOGUE_FAULT_GARBAGE, "not of smtp", "port",
          {NOTHING, B("220-x\r\n250 x\r\n")}),
    FAILS("no reply", DIALOGUE_SMTP, DIALOGUE_FAULT_GARBAGE, "an SSH server", "port",
          {NOTHING, B("SSH-2.0-x\r\n")}),
    FAILS("TLS", DIALOGUE_SMTP, DIALOGUE_FAULT_GARBAGE, "lines of text", NULL,
          {NOTHING, B("\x15\x03\x03\x00\x02\x02\x46")}),
    FAILS("a code of four", DIALOGUE_SMTP, DIALOGUE_FAULT_GARBAGE, "not of smtp", "port",
          {NOTHING, B("2200 x\r\n")}),
    /* CVE-2011-0411 */
    FAILS("words after go", DIALOGUE_SMTP, DIALOGUE_FAULT_INJECTED, "bytes after its word",
          "tcpdump", {NOTHING, B("220 x\r\n")}, {EHLO, CAN}, {START, B("220 go\r\n250 ok\r\n")}),
    TOGETHER("all at once", DIALOGUE_SMTP, "nothing had asked for",
             {NOTHING, B("220 x\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n")}),
    TOGETHER("go before asked", DIALOGUE_SMTP, "8 bytes that nothing", {NOTHING, B("220 x\r\n")},
             {EHLO, B("250-x\r\n250 STARTTLS\r\n220 go\r\n")}),
};

#define AUTH B("AUTH TLS\r\n")

static const struct script ftp[] = {
    GOES("goes", DIALOGUE_FTP, B("220-welcome\r\n  to it\r\n221 x\r\n220 ready\r\n"),
         {NOTHING, B("220-welcome\r\n  to it\r\n221 x\r\n220 ready\r\n")}, {AUTH, B("234 go\r\n")}),
    GOES("ready soon", DIALOGUE_FTP, B("220 ready\r\n"),
         {NOTHING, B("120 in 1 minute\r\n220 ready\r\n")}, {AUTH, B("234-go\r\n234 go\r\n")}),
    FAILS("no TLS", DIALOGUE_FTP, DIALOGUE_FAULT_NO_TLS, "to begin TLS: 530 login first",
          "turn TLS", {NOTHING, B("220 x\r\n")}, {AUTH, B("530 login first\r\n")}),
    FAILS("full", DIALOGUE_FTP, DIALOGUE_FAULT_UNREACHABLE, "421 too many", "log",
          {NOTHING, B("421 too many\r\n")}),
    FAILS("words after go", DIALOGUE_FTP, DIALOGUE_FAULT_INJECTED, "bytes after its word",
          "tcpdump", {NOTHING, B("220 x\r\n")}, {AUTH, B("234 go\r\n2")}),
};

#define CAPABILITY B("e1 CAPABILITY\r\n")
#define STARTTLS   B("e2 STARTTLS\r\n")
#define LISTS      B("* CAPABILITY IMAP4rev1 starttls LOGINDISABLED\r\ne1 OK done\r\n")

static const struct script imap[] = {
    GOES("goes", DIALOGUE_IMAP, B("* OK hello\r\n"), {NOTHING, B("* OK hello\r\n")},
         {CAPABILITY, LISTS}, {STARTTLS, B("e2 OK begin\r\n")}),
    GOES("capabilities are not the consumer's", DIALOGUE_IMAP, B("* OK Dovecot ready.\r\n"),
         {NOTHING, B("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] Dovecot ready.\r\n")},
         {CAPABILITY, LISTS}, {STARTTLS, B("* OK by the way\r\ne2 OK begin\r\n")}),
    GOES("capabilities alone", DIALOGUE_IMAP, B("* OK ready\r\n"),
         {NOTHING, B("* OK [CAPABILITY STARTTLS]\r\n")}, {CAPABILITY, LISTS},
         {STARTTLS, B("e2 OK\r\n")}),
    GOES("another code stays", DIALOGUE_IMAP, B("* OK [ALERT] x\r\n"),
         {NOTHING, B("* OK [ALERT] x\r\n")}, {CAPABILITY, LISTS}, {STARTTLS, B("e2 OK\r\n")}),
    FAILS("PREAUTH", DIALOGUE_IMAP, DIALOGUE_FAULT_NO_TLS, "PREAUTH", "by its address",
          {NOTHING, B("* PREAUTH hello\r\n")}),
    FAILS("BYE", DIALOGUE_IMAP, DIALOGUE_FAULT_UNREACHABLE, "* BYE busy", "log",
          {NOTHING, B("* BYE busy\r\n")}),
    FAILS("BYE later", DIALOGUE_IMAP, DIALOGUE_FAULT_UNREACHABLE, "* BYE busy", "log",
          {NOTHING, B("* OK\r\n")}, {CAPABILITY, B("* BYE busy\r\n")}),
    FAILS("does not offer it", DIALOGUE_IMAP, DIALOGUE_FAULT_NO_TLS, "not offer STARTTLS",
          "turn TLS on", {NOTHING, B("* OK [CAPABILITY STARTTLS] x\r\n")},
          {CAPABILITY, B("* CAPABILITY IMAP4rev1 XSTARTTLS STARTTLSX\r\ne1 OK done\r\n")}),
    FAILS("lists none", DIALOGUE_IMAP, DIALOGUE_FAULT_NO_TLS, "not offer STARTTLS", "turn TLS on",
          {NOTHING, B("* OK x\r\n")}, {CAPABILITY, B("e1 OK done\r\n")}),
    FAILS("refuses", DIALOGUE_IMAP, DIALOGUE_FAULT_NO_TLS, "begin TLS: e2 NO not now", "turn TLS",
          {NOTHING, B("* OK x\r\n")}, {CAPABILITY, LISTS}, {STARTTLS, B("e2 NO not now\r\n")}),
    FAILS("does not know it", DIALOGUE_IMAP, DIALOGUE_FAULT_NO_TLS, "e2 BAD", "turn TLS",
          {NOTHING, B("* OK x\r\n")}, {CAPABILITY, LISTS}, {STARTTLS, B("e2 BAD\r\n")}),
    FAILS("another tag", DIALOGUE_IMAP, DIALOGUE_FAULT_GARBAGE, "not of imap", "port",
          {NOTHING, B("* OK x\r\n")}, {CAPABILITY, B("e2 OK\r\n")}),
    FAILS("the tag of before", DIALOGUE_IMAP, DIALOGUE_FAULT_GARBAGE, "not of imap", "port",
          {NOTHING, B("* OK x\r\n")}, {CAPABILITY, LISTS}, {STARTTLS, B("e1 OK\r\n")}),
    FAILS("a literal", DIALOGUE_IMAP, DIALOGUE_FAULT_GARBAGE, "not of imap", "port",
          {NOTHING, B("* OK x\r\n")}, {CAPABILITY, B("* X {3}\r\nabc\r\ne1 OK\r\n")}),
    FAILS("POP3", DIALOGUE_IMAP, DIALOGUE_FAULT_GARBAGE, "a POP3 server", "port",
          {NOTHING, B("+OK x\r\n")}),
    FAILS("words after go", DIALOGUE_IMAP, DIALOGUE_FAULT_INJECTED, "bytes after its word",
          "tcpdump", {NOTHING, B("* OK x\r\n")}, {CAPABILITY, LISTS},
          {STARTTLS, B("e2 OK\r\n* OK [ALERT] x\r\n")}),
    TOGETHER("all at once", DIALOGUE_IMAP, "nothing had asked for",
             {NOTHING, B("* OK x\r\n* CAPABILITY STARTTLS\r\ne1 OK\r\ne2 OK\r\n")}),
    TOGETHER("go before asked", DIALOGUE_IMAP, "7 bytes that nothing", {NOTHING, B("* OK x\r\n")},
             {CAPABILITY, B("* CAPABILITY STARTTLS\r\ne1 OK\r\ne2 OK\r\n")}),
};

static const struct script pop3[] = {
    GOES("goes", DIALOGUE_POP3, B("+OK <1@x>\r\n"), {NOTHING, B("+OK <1@x>\r\n")},
         {B("STLS\r\n"), B("+OK\r\n")}),
    FAILS("refuses", DIALOGUE_POP3, DIALOGUE_FAULT_NO_TLS, "begin TLS: -ERR what", "turn TLS on",
          {NOTHING, B("+OK\r\n")}, {B("STLS\r\n"), B("-ERR what\r\n")}),
    FAILS("does not serve", DIALOGUE_POP3, DIALOGUE_FAULT_UNREACHABLE, "-ERR busy", "log",
          {NOTHING, B("-ERR busy\r\n")}),
    FAILS("garbage", DIALOGUE_POP3, DIALOGUE_FAULT_GARBAGE, "an IMAP server", "port",
          {NOTHING, B("* OK\r\n")}),
    FAILS("not a word", DIALOGUE_POP3, DIALOGUE_FAULT_GARBAGE, "not of pop3", "port",
          {NOTHING, B("+OKAY\r\n")}),
    FAILS("words after go", DIALOGUE_POP3, DIALOGUE_FAULT_INJECTED, "bytes after its word",
          "tcpdump", {NOTHING, B("+OK\r\n")}, {B("STLS\r\n"), B("+OK\r\n+OK\r\n")}),
    TOGETHER("both at once", DIALOGUE_POP3, "5 bytes that nothing", {NOTHING, B("+OK\r\n+OK\r\n")}),
};

#define LDAP_ASK                                                                                   \
    B("\x30\x1d\x02\x01\x01\x77\x18\x80\x16"                                                       \
      "1.3.6.1.4.1.1466.20037")

static const struct script ldap[] = {
    GOES("goes", DIALOGUE_LDAP, NOTHING,
         {LDAP_ASK, B("\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00")}),
    GOES("long lengths, a name, controls", DIALOGUE_LDAP, NOTHING,
         {LDAP_ASK, B("\x30\x84\x00\x00\x00\x15\x02\x01\x01\x78\x81\x0b\x0a\x01\x00\x04\x00\x04\x00"
                      "\x8a\x02hi\xa0\x02\x30\x00")}),
    FAILS("refuses", DIALOGUE_LDAP, DIALOGUE_FAULT_NO_TLS, "(result 2): no \\x0aTLS", "turn TLS on",
          {LDAP_ASK, B("\x30\x13\x02\x01\x01\x78\x0e\x0a\x01\x02\x04\x00\x04\x07no \nTLS")}),
    FAILS("busy", DIALOGUE_LDAP, DIALOGUE_FAULT_UNREACHABLE, "now (result 52)", "log",
          {LDAP_ASK, B("\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00")}),
    FAILS("disconnects", DIALOGUE_LDAP, DIALOGUE_FAULT_UNREACHABLE, "ends the connection", "log",
          {LDAP_ASK, B("\x30\x0c\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00")}),
    FAILS("another message", DIALOGUE_LDAP, DIALOGUE_FAULT_GARBAGE, "(7) that was not sent", NULL,
          {LDAP_ASK, B("\x30\x0c\x02\x01\x07\x78\x07\x0a\x01\x00\x04\x00\x04\x00")}),
    FAILS("indefinite", DIALOGUE_LDAP, DIALOGUE_FAULT_GARBAGE, "not of LDAP", "port",
          {LDAP_ASK, B("\x30\x80\x02\x01\x01")}),
    FAILS("endless", DIALOGUE_LDAP, DIALOGUE_FAULT_GARBAGE, "not of LDAP", "port",
          {LDAP_ASK, B("\x30\x84\x7f\xff\xff\xff")}),
    FAILS("five bytes of length", DIALOGUE_LDAP, DIALOGUE_FAULT_GARBAGE, "not of LDAP", "port",
          {LDAP_ASK, B("\x30\x85\x00\x00\x00\x00\x0c")}),
    FAILS("inner beyond outer", DIALOGUE_LDAP, DIALOGUE_FAULT_GARBAGE, "not of LDAP", "port",
          {LDAP_ASK, B("\x30\x0c\x02\x01\x01\x78\x08\x0a\x01\x00\x04\x00\x04\x00")}),
    FAILS("negative", DIALOGUE_LDAP, DIALOGUE_FAULT_GARBAGE, "not of LDAP", "port",
          {LDAP_ASK, B("\x30\x0c\x02\x01\xff\x78\x07\x0a\x01\x00\x04\x00\x04\x00")}),
    FAILS("another operation", DIALOGUE_LDAP, DIALOGUE_FAULT_GARBAGE, "not of LDAP", "port",
          {LDAP_ASK, B("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00")}),
    FAILS("garbage", DIALOGUE_LDAP, DIALOGUE_FAULT_GARBAGE, "not of LDAP", "port",
          {LDAP_ASK, B("HTTP/1.1 400\r\n")}),
    FAILS("words after go", DIALOGUE_LDAP, DIALOGUE_FAULT_INJECTED, "bytes after its word",
          "tcpdump", {LDAP_ASK, B("\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00\x30")}),
};

#define OPEN                                                                                       \
    B("<?xml version='1.0'?><stream:stream to='cloud.example' version='1.0' "                      \
      "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
#define STREAM                                                                                     \
    "<?xml version='1.0'?>\n<stream:stream id='a>b' from=\"cloud.example\" version='1.0' "         \
    "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
#define NS      "xmlns='urn:ietf:params:xml:ns:xmpp-tls'"
#define ASK_TLS B("<starttls " NS "/>")

static const struct script xmpp[] = {
    GOES("goes", DIALOGUE_XMPP, NOTHING,
         {OPEN, B(STREAM "<stream:features><starttls " NS "><required/></starttls>"
                         "<mechanisms xmlns='x'><mechanism>PLAIN</mechanism></mechanisms>"
                         "</stream:features>")},
         {ASK_TLS, B("<proceed " NS "/>")}),
    GOES("another prefix, no declaration, an end tag", DIALOGUE_XMPP, NOTHING,
         {OPEN, B("<s:stream xmlns:s='http://etherx.jabber.org/streams'> <s:features>\n"
                  "<starttls " NS "/></s:features>")},
         {ASK_TLS, B("<proceed " NS "></proceed>")}),
    FAILS("does not offer it", DIALOGUE_XMPP, DIALOGUE_FAULT_NO_TLS, "not offer <starttls/>",
          "turn TLS on",
          {OPEN, B(STREAM "<stream:features><x><starttls " NS "/></x><starttls xmlns='y'/>"
                          "<nostarttls " NS "/></stream:features>")}),
    FAILS("has no features", DIALOGUE_XMPP, DIALOGUE_FAULT_NO_TLS, "not offer <starttls/>",
          "turn TLS on", {OPEN, B(STREAM "<stream:features/>")}),
    FAILS("refuses", DIALOGUE_XMPP, DIALOGUE_FAULT_NO_TLS, "<failure/>", "turn TLS on",
          {OPEN, B(STREAM "<stream:features><starttls " NS "/></stream:features>")},
          {ASK_TLS, B("<failure " NS "/></stream:stream>")}),
    FAILS("does not host it", DIALOGUE_XMPP, DIALOGUE_FAULT_UNREACHABLE, "<stream:error>",
          "hosts this domain", {OPEN, B(STREAM "<stream:error><host-unknown/></stream:error>")}),
    FAILS("HTML", DIALOGUE_XMPP, DIALOGUE_FAULT_GARBAGE, "not of XMPP", "port",
          {OPEN, B("<!DOCTYPE html>")}),
    FAILS("another element", DIALOGUE_XMPP, DIALOGUE_FAULT_GARBAGE, "XML or HTML", "port",
          {OPEN, B("<html>")}),
    FAILS("a comment", DIALOGUE_XMPP, DIALOGUE_FAULT_GARBAGE, "not of XMPP", "port",
          {OPEN, B(STREAM "<!-- -->")}),
    FAILS("a late declaration", DIALOGUE_XMPP, DIALOGUE_FAULT_GARBAGE, "not of XMPP", "port",
          {OPEN, B(STREAM "<?xml?>")}),
    FAILS("text", DIALOGUE_XMPP, DIALOGUE_FAULT_GARBAGE, "not of XMPP", "port",
          {OPEN, B(STREAM "hello")}),
    FAILS("closes what is not open", DIALOGUE_XMPP, DIALOGUE_FAULT_GARBAGE, "not of XMPP", "port",
          {OPEN, B(STREAM "<stream:features></x>")}),
    FAILS("proceeds with something else", DIALOGUE_XMPP, DIALOGUE_FAULT_GARBAGE, "not of XMPP",
          "port", {OPEN, B(STREAM "<stream:features><starttls " NS "/></stream:features>")},
          {ASK_TLS, B("<proceed xmlns='x'/>")}),
    FAILS("words after go", DIALOGUE_XMPP, DIALOGUE_FAULT_INJECTED, "bytes after its word",
          "tcpdump", {OPEN, B(STREAM "<stream:features><starttls " NS "/></stream:features>")},
          {ASK_TLS, B("<proceed " NS "/>\n")}),
    TOGETHER("both at once", DIALOGUE_XMPP, "nothing had asked for",
             {OPEN, B(STREAM "<stream:features><starttls " NS "/></stream:features>"
                             "<proceed " NS "/>")}),
};

#define PLAY(name)                                                                                 \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        play_all((name), sizeof(name) / sizeof((name)[0]));                                        \
    }
PLAY(postgres)
PLAY(smtp)
PLAY(ftp)
PLAY(imap)
PLAY(pop3)
PLAY(ldap)
PLAY(xmpp)

/* What has no end is not waited for, however slowly it comes. */
static void endless(enum dialogue_protocol protocol, const char *first, const char *more)
{
    const struct dialogue_order order = {.protocol = protocol, .host = "cloud.example"};
    struct dialogue *d = dialogue_create(&order);
    const uint8_t *bytes;
    size_t fed = 0;
    dialogue_sent(d, dialogue_pending(d, &bytes));
    dialogue_feed(d, first, strlen(first));
    while (d->state == DIALOGUE_MORE && fed < (size_t)1 << 20) {
        dialogue_sent(d, dialogue_pending(d, &bytes));
        dialogue_feed(d, more, strlen(more));
        fed += strlen(more);
    }
    if (d->fault != DIALOGUE_FAULT_GARBAGE)
        fail_msg("%s: %s %s: fault %d %s", dialogue_word(protocol), first, more, (int)d->fault,
                 d->error);
    dialogue_destroy(&d);
}

static void test_endless(void **state)
{
    (void)state;
    endless(DIALOGUE_SMTP, "220 ", "x");
    endless(DIALOGUE_SMTP, "", "220-x\r\n");
    endless(DIALOGUE_FTP, "220-\r\n", "x\r\n");
    endless(DIALOGUE_FTP, "", "120 x\r\n");
    endless(DIALOGUE_IMAP, "* OK ", "x");
    endless(DIALOGUE_IMAP, "* OK\r\n", "* 1 EXISTS\r\n");
    endless(DIALOGUE_POP3, "+OK ", "x");
    endless(DIALOGUE_LDAP, "0\x82\x20\x01", "x");
    endless(DIALOGUE_XMPP, "<stream:stream a='", "x");
    endless(DIALOGUE_XMPP, "<stream:stream>", " ");
    endless(DIALOGUE_XMPP, "<stream:stream><stream:features>", "<a>");
    endless(DIALOGUE_XMPP, "<stream:stream><stream:features><a>", "text");
}

/* Bytes later, when TLS should have begun: not taken for TLS, nor for said under it. */
static void test_late_words(void **state)
{
    (void)state;
    const struct dialogue_order order = {.protocol = DIALOGUE_POSTGRES};
    struct dialogue *d = dialogue_create(&order);
    const uint8_t *bytes;
    dialogue_sent(d, dialogue_pending(d, &bytes));
    dialogue_feed(d, "S", 1);
    assert_int_equal(d->state, DIALOGUE_DONE);
    dialogue_ended(d); /* it is TLS's to tell now */
    assert_int_equal(d->state, DIALOGUE_DONE);
    dialogue_feed(d, "", 0);
    assert_int_equal(d->state, DIALOGUE_DONE);
    dialogue_feed(d, "x", 1);
    assert_int_equal(d->fault, DIALOGUE_FAULT_INJECTED);
    dialogue_feed(d, "S", 1); /* and stays so */
    dialogue_ended(d);
    assert_int_equal(d->fault, DIALOGUE_FAULT_INJECTED);
    dialogue_destroy(&d);
}

/* Whoever is to answer a question has not heard it yet. */
static void test_early_words(void **state)
{
    (void)state;
    static const char *const said[] = {"S", "0\x0c\x02\x01\x01\x78\x07\x0a\x01", "<stream:stream>"};
    static const enum dialogue_protocol protocols[] = {DIALOGUE_POSTGRES, DIALOGUE_LDAP,
                                                       DIALOGUE_XMPP};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        const struct dialogue_order order = {.protocol = protocols[i], .host = "cloud.example"};
        struct dialogue *d = dialogue_create(&order);
        const uint8_t *bytes;
        dialogue_sent(d, dialogue_pending(d, &bytes) - 1);
        dialogue_feed(d, said[i], strlen(said[i]));
        assert_int_equal(d->fault, DIALOGUE_FAULT_INJECTED);
        dialogue_destroy(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_postgres),   cmocka_unit_test(test_smtp),
        cmocka_unit_test(test_ftp),        cmocka_unit_test(test_imap),
        cmocka_unit_test(test_pop3),       cmocka_unit_test(test_ldap),
        cmocka_unit_test(test_xmpp),       cmocka_unit_test(test_endless),
        cmocka_unit_test(test_late_words), cmocka_unit_test(test_early_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
