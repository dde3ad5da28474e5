/* Command lines, good ones and wrong ones: what is taken, and what each mistake is answered with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64

/* argv of a line: words are parted by one space; "@" is an empty word, "~" a space in a word. */
struct words {
    char text[1024];
    char *argv[WORDS_MAX + 1];
    int argc;
};

static void split(struct words *w, const char *line)
{
    assert_true(strlen(line) < sizeof(w->text));
    memcpy(w->text, line, strlen(line) + 1);
    w->argc = 0;
    char *rest = NULL;
    for (char *word = strtok_r(w->text, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        assert_true(w->argc < WORDS_MAX);
        if (strcmp(word, "@") == 0) {
            *word = '\0';
        }
        for (char *p = word; *p != '\0'; p++) {
            if (*p == '~') {
                *p = ' ';
            }
        }
        w->argv[w->argc++] = word;
    }
    w->argv[w->argc] = NULL;
}

static bool parse(struct config *c, const char *line, enum command *command_r, struct error *err)
{
    struct words w;
    split(&w, line);
    error_init(err);
    assert_true(config_set_up(c, err));
    return config_from_command_line(c, w.argc, w.argv, command_r, err);
}

/* ---- taken ---- */

#define BOTH "esclusa -l 8080 -c host:443"

static const struct {
    const char *line;
    enum command command;
} good_lines[] = {
    {BOTH, COMMAND_RUN},
    {"esclusa check -l 8080 -c host:443", COMMAND_CHECK},
    {"esclusa --listen=8080 --connect=host:443", COMMAND_RUN},
    {BOTH " --", COMMAND_RUN},
    {"esclusa -l tcp://[::1]:8080 -c tls://[2001:db8::1]:443", COMMAND_RUN},
    {"esclusa -l unix:/run/e.sock -c unix:@backend", COMMAND_RUN},
    {"esclusa -l tcp://127.0.0.1:1 -c tcp://127.0.0.1:2", COMMAND_RUN},
    {"esclusa -l tls://0.0.0.0:443 --listen-cert c --listen-key k -c tcp://h:80", COMMAND_RUN},
    {"esclusa -l tls://:::443 -h", COMMAND_HELP},
    {BOTH " --ca ca.pem --ca-dir /etc/ca --cert c.pem --key k.pem --server-name example.com",
     COMMAND_RUN},
    {BOTH " --cert both.pem", COMMAND_RUN},
    {BOTH " --cert pkcs11:object=c --key pkcs11:object=c --key-passphrase env:PIN", COMMAND_RUN},
    {BOTH " --verify-names a.example --verify-names spiffe://x/y --verify-names 192.0.2.1",
     COMMAND_RUN},
    {BOTH " --pins sha256//x --pins sha256//y --pins-policy report", COMMAND_RUN},
    {BOTH " --crl c --ocsp off --revocation-policy report", COMMAND_RUN},
    {BOTH " --resumption true --resumption-age 10m --watch false", COMMAND_RUN},
    {"esclusa -l tls://0.0.0.0:443 --listen-cert c -c tcp://h:80", COMMAND_RUN},
    {"esclusa -l tls://0.0.0.0:443 --listen-cert a --listen-key b --listen-cert c --listen-key d "
     "-c h:443 --listen-ca a --listen-client optional --listen-allow-cn * --listen-crl c "
     "--listen-ticket-keys k --max-handshakes 5 --tls-min 1.3 --listen-tls-min 1.2 "
     "--listen-ciphers AES128-SHA",
     COMMAND_RUN},
    {"esclusa -l tls://0.0.0.0:443 --listen-cert c -c tcp://h:80 --listen-client none "
     "--listen-tickets true --listen-ticket-rotation 1h",
     COMMAND_RUN},
    {BOTH " --server-name 192.0.2.1", COMMAND_RUN},
    {BOTH " --server-name 2001:db8::1", COMMAND_RUN},
    {"esclusa -l 8080 -c fe80::1 --help", COMMAND_HELP},
    {"esclusa -l 8080 -c [fe80::1%lo]:443", COMMAND_RUN},
    {BOTH " --tls-min 1.3 --tls-max 1.3", COMMAND_RUN},
    {BOTH " --tls-max 1.2", COMMAND_RUN},
    {BOTH " --drain-timeout 0 --idle-timeout 365d --workers 256 --backlog 1", COMMAND_RUN},
    {BOTH " --half-close tls13 --missing-close-notify fin --log-level debug --log-format json",
     COMMAND_RUN},
    {"esclusa -l 8080 -l 8081 -c a:443 -c b:443 -c a:443", COMMAND_RUN},
    {"esclusa -l 0.0.0.0:80 -l [::]:80 -c host:80", COMMAND_RUN},
    {"esclusa -l 127.0.0.1:80 -c tcp://127.0.0.2:80", COMMAND_RUN},
    {"esclusa -l 127.0.0.1:80 -c tcp://[::1]:80", COMMAND_RUN},
    {BOTH " --ca -my-ca.pem", COMMAND_RUN}, /* no option has that name */
    {BOTH " --ca=--cert", COMMAND_RUN},     /* odd, but said plainly */
    {BOTH " --ca a=b.pem", COMMAND_RUN},
    {BOTH " --ca=a=b.pem", COMMAND_RUN},
    {BOTH " --ca My~CA.pem", COMMAND_RUN},
    {"esclusa --help", COMMAND_HELP},
    {"esclusa -h --bogus", COMMAND_HELP},
    {"esclusa check --help", COMMAND_HELP},
    {"esclusa --version", COMMAND_VERSION},
    {"esclusa -V", COMMAND_VERSION},
    {"esclusa check --explain", COMMAND_EXPLAIN},
    {"esclusa check -l 1 -c a:1 --format json", COMMAND_CHECK},
    {"esclusa check --config x --help", COMMAND_HELP},
};

static void good_lines_are_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_lines) / sizeof(good_lines[0]); i++) {
        struct config c;
        struct error err;
        enum command command = COMMAND_RUN;
        if (!parse(&c, good_lines[i].line, &command, &err)) {
            fail_msg("%s: %s", good_lines[i].line, err.text);
        }
        assert_false(err.set);
        if (command != good_lines[i].command) {
            fail_msg("%s: command %d", good_lines[i].line, (int)command);
        }
        config_fini(&c);
    }
}

static void values_land_where_they_belong(void **state)
{
    (void)state;
    struct config c;
    struct error err;
    enum command command = COMMAND_RUN;
    assert_true(
        parse(&c,
              "esclusa check -l tls://[::1]:8443 --listen-cert lc --listen-key=lk --listen-ca la "
              "-c a:1 --connect=b:2 --ca ca --ca-dir cd --cert ce --key ke --server-name sn "
              "--tls-min 1.2 --tls-max 1.3 --backlog 7 --workers 3 --connect-timeout 1s "
              "--handshake-timeout 2s --idle-timeout 3s --half-closed-timeout 4s "
              "--drain-timeout 5ms --half-close off --missing-close-notify fin --log-level "
              "warn --log-format json",
              &command, &err));
    const struct service_config *s = &c.services[0];
    assert_int_equal(command, COMMAND_CHECK);
    assert_int_equal(s->listen.count, 1);
    assert_string_equal(s->listen.items[0], "tls://[::1]:8443");
    assert_int_equal(s->connect.count, 2);
    assert_string_equal(s->connect.items[0], "a:1");
    assert_string_equal(s->connect.items[1], "b:2");
    assert_int_equal(s->listen_cert.count, 1);
    assert_string_equal(s->listen_cert.items[0], "lc");
    assert_int_equal(s->listen_key.count, 1);
    assert_string_equal(s->listen_key.items[0], "lk");
    assert_string_equal(s->listen_ca, "la");
    assert_string_equal(s->ca, "ca");
    assert_string_equal(s->ca_dir, "cd");
    assert_string_equal(s->cert, "ce");
    assert_string_equal(s->key, "ke");
    assert_string_equal(s->server_name, "sn");
    assert_int_equal(s->tls_min, TLS_1_2);
    assert_int_equal(s->tls_max, TLS_1_3);
    assert_int_equal(s->backlog, 7);
    assert_int_equal(c.workers, 3);
    assert_int_equal(s->connect_timeout, 1000);
    assert_int_equal(s->handshake_timeout, 2000);
    assert_int_equal(s->idle_timeout, 3000);
    assert_int_equal(s->half_closed_timeout, 4000);
    assert_int_equal(c.drain_timeout, 5);
    assert_int_equal(s->half_close, HALF_CLOSE_OFF);
    assert_int_equal(s->missing_close_notify, CUT_FIN);
    assert_int_equal(c.log_level, LOG_LEVEL_WARN);
    assert_int_equal(c.log_format, LOG_FORMAT_JSON);
    config_fini(&c);
}

/* ---- refused ---- */

#define TCP_ONLY   "esclusa -l 8080 -c tcp://host:80"
#define TLS_LISTEN "esclusa -l tls://0.0.0.0:443 -c tcp://host:80"
#define NO_TLS_UP                                                                                  \
    ": would not be used, as no --connect is tls://; write --connect "                             \
    "tls://HOST:PORT or leave it out"
#define NO_TLS_DOWN                                                                                \
    ": would not be used, as no --listen is tls://; write --listen "                               \
    "tls://HOST:PORT or leave it out"
#define NO_TLS ": would not be used, as neither --listen nor --connect is tls://; leave it out"
#define SKIP_VERIFY                                                                                \
    "--insecure-skip-verify is no option of the command line: it exists in a service's block of "  \
    "a config file only, as insecure_skip_verify = true; give the upstream's CA with --ca instead"
#define DURATION "not a duration; give a number with a unit, like 500ms, 5s, 10m or 1h"

/* error ends with "...": what comes behind is the address parser's or the TLS module's business. */
struct answered {
    const char *line, *error;
};

static const struct answered bad_lines[] = {
    /* what is required */
    {"esclusa", "--listen: missing; say where consumers connect, like --listen 127.0.0.1:8080"},
    {"esclusa check",
     "--listen: missing; say where consumers connect, like --listen 127.0.0.1:8080"},
    {"esclusa -c host:443",
     "--listen: missing; say where consumers connect, like --listen 127.0.0.1:8080"},
    {"esclusa -l 8080",
     "--connect: missing; say where the upstream is, like --connect example.com:443"},
    /* unknown words */
    {BOTH " --conect x", "--conect: unknown option; did you mean --connect?"},
    {BOTH " --Listen x", "--Listen: unknown option; did you mean --listen?"},
    {BOTH " --connect_timeout 5s",
     "--connect_timeout: unknown option; did you mean --connect-timeout?"},
    {BOTH " -idle 5s", "-idle: unknown option; did you mean --idle-timeout?"},
    {BOTH " --idle 5s", "--idle: unknown option; did you mean --idle-timeout?"},
    {BOTH " --half-closed-timout=5s",
     "--half-closed-timout: unknown option; did you mean --half-closed-timeout?"},
    {BOTH " --vers", "--vers: unknown option; did you mean --version?"},
    {BOTH " --hepl", "--hepl: unknown option; did you mean --help?"},
    {"esclusa -listen 8080", "-listen: unknown option; did you mean --listen?"},
    {"esclusa -connect h:1", "-connect: unknown option; did you mean --connect?"},
    {"esclusa -l8080", "-l8080: unknown option; the value of -l is the next word: -l ADDR"},
    {"esclusa -l=8080", "-l: unknown option; the value of -l is the next word: -l ADDR"},
    {"esclusa -h=1", "--help '1': takes no value; write --help alone"},
    {BOTH " -xyz", "-xyz: unknown option; esclusa --help lists them"},
    {BOTH " --frobnicate", "--frobnicate: unknown option; esclusa --help lists them"},
    {BOTH " -z", "-z: unknown option; esclusa --help lists them"},
    {BOTH " --=x", "--: unknown option; esclusa --help lists them"},
    {BOTH " -=x", "-: unknown option; esclusa --help lists them"},
    {BOTH " --\x1b[31m\n", "--\\x1b[31m\\x0a: unknown option; esclusa --help lists them"},
    {BOTH " --aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "--aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: unknown option; esclusa --help lists "
     "them"},
    /* a config file */
    {"esclusa --config /nonexistent/e.cfg",
     "--config '/nonexistent/e.cfg': No such file or directory"},
    {"esclusa check --config=/", "--config '/': this is a directory, a file is needed"},
    {"esclusa --config /dev/zero",
     "--config '/dev/zero': this is a device, a regular file is needed"},
    {"esclusa --config", "--config: its value is missing; give FILE"},
    {"esclusa --config=", "--config '': empty; give FILE"},
    {"esclusa --config a --config b",
     "--config 'b': given a second time; give one file, which may @include others"},
    {"esclusa --config e.cfg --ca x", "--ca: does not go with --config, whose file says what each "
                                      "service does; write ca there"},
    {"esclusa --log-level info -l 1 --config e.cfg --idle-timeout 1s",
     "--listen: does not go with --config, whose file says what each service does; write listen "
     "there"},
    /* words of check */
    {BOTH " --format json", "--format: belongs to check; write esclusa check --format ..."},
    {"esclusa check -l 1 -c a:1 --format xml", "--format 'xml': unknown; give text or json"},
    {"esclusa check --format text --format json",
     "--format 'json': given a second time; give it once"},
    {"esclusa --explain", "--explain: belongs to check; write esclusa check --explain"},
    {"esclusa check --explain=all", "--explain 'all': takes no value; write --explain alone"},
    {BOTH " --confg x", "--confg: unknown option; did you mean --config?"},
    {BOTH " --admin 0.0.0.0:9090",
     "--admin '0.0.0.0:9090': not a loopback address, and there is no password: whoever reaches it "
     "may drain the gateway; give a loopback address or a unix path, or set --admin-allow-remote "
     "to "
     "true"},
    {BOTH " --insecure-skip-verify", SKIP_VERIFY},
    {BOTH " --insecure-skip-verify=true", SKIP_VERIFY},
    {BOTH " --insecure", "--insecure: unknown option; esclusa --help lists them"},
    /* words that are no options */
    {BOTH " host:443",
     "'host:443': not an option; addresses are given as --listen ADDR and --connect ADDR"},
    {"esclusa 8080 host:443",
     "'8080': not an option; addresses are given as --listen ADDR and --connect ADDR"},
    {BOTH " -- -l", "'-l': not an option; addresses are given as --listen ADDR and --connect ADDR"},
    {BOTH " -", "'-': not an option; addresses are given as --listen ADDR and --connect ADDR"},
    {BOTH " @", "'': not an option; addresses are given as --listen ADDR and --connect ADDR"},
    {BOTH " check", "'check': in the wrong place; check comes first: esclusa check OPTIONS"},
    {"esclusa check check",
     "'check': in the wrong place; check comes first: esclusa check OPTIONS"},
    {"esclusa chekc -l 1", "'chekc': unknown command; did you mean check?"},
    /* values */
    {BOTH " --ca", "--ca: its value is missing; give FILE"},
    {"esclusa -l", "-l: its value is missing; give ADDR"},
    {BOTH " --ca --cert x", "--ca: its value is missing, as '--cert' is an option; give FILE"},
    {BOTH " --ca --cert=x", "--ca: its value is missing, as '--cert=x' is an option; give FILE"},
    {"esclusa -l -c h:1", "-l: its value is missing, as '-c' is an option; give ADDR"},
    {BOTH " --ca --config", "--ca: its value is missing, as '--config' is an option; give FILE"},
    {BOTH " --ca=", "--ca '': empty; give FILE"},
    {BOTH " --ca @", "--ca '': empty; give FILE"},
    {"esclusa --listen= -c h:1", "--listen '': empty; give ADDR"},
    {BOTH " --help=x", "--help 'x': takes no value; write --help alone"},
    {BOTH " --version=", "--version '': takes no value; write --version alone"},
    {BOTH " --connect-timeout abc", "--connect-timeout 'abc': " DURATION},
    {BOTH " --idle-timeout=10", "--idle-timeout '10': " DURATION},
    {BOTH " --idle-timeout -1s", "--idle-timeout '-1s': " DURATION},
    {BOTH " --handshake-timeout 0", "--handshake-timeout '0': out of range; give 1ms to 365d"},
    {BOTH " --drain-timeout 400d", "--drain-timeout '400d': out of range; give 0 to 365d"},
    {BOTH " --backlog 0", "--backlog '0': out of range; give 1 to 65535"},
    {BOTH " --workers many", "--workers 'many': not a whole number; give 1 to 256"},
    {BOTH " --tls-min 1.1", "--tls-min '1.1': unknown; give 1.2 or 1.3"},
    {BOTH " --half-close yes", "--half-close 'yes': unknown; give on, tls13 or off"},
    {BOTH " --log-level trace", "--log-level 'trace': unknown; give error, warn, info or debug"},
    /* twice */
    {BOTH " --ca a --ca b", "--ca: given a second time; give it once"},
    {BOTH " --ca=a --ca=a", "--ca: given a second time; give it once"},
    {BOTH " --workers 1 --workers x", "--workers 'x': given a second time; give it once"},
    /* addresses */
    {"esclusa -l nonsense -c h:1", "--listen 'nonsense': ..."},
    {"esclusa -l 127.0.0.1:0 -c h:1", "--listen '127.0.0.1:0': ..."},
    {"esclusa -l 8080 -c host", "--connect 'host': ..."},
    {"esclusa -l 8080 -c host:65536", "--connect 'host:65536': ..."},
    {"esclusa -l 8080 -c ftp://host:1", "--connect 'ftp://host:1': ..."},
    {"esclusa -l 8080 -c a:1 -c dtls://b:1", "--connect 'dtls://b:1': ..."},
    {"esclusa -l udp://8080 -c a:1", "--listen 'udp://8080': ..."},
    {"esclusa -l 8080 -l 8080 -c h:1",
     "--listen '8080': the same address as --listen '8080'; give each address and port once"},
    {"esclusa -l 8080 -l tcp://127.0.0.1:8080 -c h:1",
     "--listen 'tcp://127.0.0.1:8080': the same address as --listen '8080'; give each address and "
     "port once"},
    {"esclusa -l unix:/a -l unix:/a -c h:1",
     "--listen 'unix:/a': the same address as --listen 'unix:/a'; give each address and port once"},
    {"esclusa -l 0.0.0.0:80 -l 127.0.0.1:80 -c h:1",
     "--listen '127.0.0.1:80': the same address as --listen '0.0.0.0:80'; give each address and "
     "port once"},
    {"esclusa -l [::1]:80 -l [::]:80 -c h:1", "--listen '[::]:80': the same address as ..."},
    {"esclusa -l [::1]:80 -l [0:0::1]:80 -c h:1",
     "--listen '[0:0::1]:80': the same address as ..."},
    {"esclusa -l Gate.example:80 -l gate.example:80 -c h:1",
     "--listen 'gate.example:80': the same address as ..."},
    {"esclusa -l 443 -c 127.0.0.1:443",
     "--connect '127.0.0.1:443': the same address as --listen '443', so esclusa would connect to "
     "itself; give another port"},
    {"esclusa -l 443 -c ok:1 -c localhost:443", "--connect 'localhost:443': the same address ..."},
    {"esclusa -l 0.0.0.0:443 -c tcp://127.0.0.9:443",
     "--connect 'tcp://127.0.0.9:443': the same address ..."},
    {"esclusa -l [::1]:443 -c tcp://[::]:443", "--connect 'tcp://[::]:443': the same address ..."},
    {"esclusa -l unix:/a -c unix:/a", "--connect 'unix:/a': the same address ..."},
    {"esclusa -l gw.example:443 -c GW.example:443",
     "--connect 'GW.example:443': the same address ..."},
    /* what nothing would use */
    {TCP_ONLY " --ca x", "--ca" NO_TLS_UP},
    {TCP_ONLY " --ca-dir x", "--ca-dir" NO_TLS_UP},
    {TCP_ONLY " --cert x", "--cert" NO_TLS_UP},
    {TCP_ONLY " --key x", "--key" NO_TLS_UP},
    {TCP_ONLY " --server-name x", "--server-name" NO_TLS_UP},
    {TCP_ONLY " --tls-min 1.2", "--tls-min" NO_TLS},
    {TCP_ONLY " --tls-max 1.3", "--tls-max" NO_TLS},
    {"esclusa -l 8080 -c unix:/b --ca x", "--ca" NO_TLS_UP},
    {TLS_LISTEN " --listen-cert c --listen-key k --ca x", "--ca" NO_TLS_UP},
    {BOTH " --listen-cert x", "--listen-cert" NO_TLS_DOWN},
    {BOTH " --listen-key x", "--listen-key" NO_TLS_DOWN},
    {BOTH " --listen-ca x", "--listen-ca" NO_TLS_DOWN},
    /* what belongs together */
    {TLS_LISTEN, "--listen-cert: missing, and a tls:// listener needs it; give the certificate "
                 "chain: --listen-cert FILE"},
    {TLS_LISTEN " --listen-key k", "--listen-cert: missing, ..."},
    {BOTH " --key k", "--key: given without --cert; give the client certificate that it belongs "
                      "to: --cert FILE"},
    {BOTH " --tls-min 1.3 --tls-max 1.2",
     "--tls-min '1.3': above --tls-max '1.2'; give a --tls-max of 1.3 or leave one of them out"},
    /* names */
    {BOTH " --server-name two~words", "--server-name 'two words'..."},
    {BOTH " --server-name host:443", "--server-name 'host:443'..."},
    {BOTH " --server-name [::1]", "--server-name '[::1]'..."},
    {BOTH " --server-name a..b", "--server-name 'a..b'..."},
};

/* Of TLS: those that use.c and check_tls.c answer. */
#define LISTEN TLS_LISTEN " --listen-cert c"
#define OMIT   "; leave one of them out"

static const struct answered bad_tls_lines[] = {
    /* keys and passphrases */
    {LISTEN " --listen-cert d --listen-key k",
     "--listen-key: 1 given for 2 --listen-cert; give one for each, in their order, or none where "
     "the files of the certificates hold them"},
    {LISTEN " --listen-key k --listen-key l", "--listen-key: 2 given for 1 --listen-cert; ..."},
    {BOTH " --key-passphrase env:P",
     "--key-passphrase: would not be used without --cert; give --cert FILE or leave it out"},
    {BOTH " --cert c --key-passphrase hunter2",
     "--key-passphrase: says no place; give file:PATH or env:NAME, where the passphrase is, and "
     "never the passphrase itself"},
    {BOTH " --key-passphrase env:P --key-passphrase hunter2",
     "--key-passphrase: given a second time; give it once"},
    {BOTH " --cert c --key-passphrase file:", "--key-passphrase: says no place; ..."},
    {BOTH " --cert c --key-passphrase env:", "--key-passphrase: says no place; ..."},
    {BOTH " --cert c --key-passphrase env:A=B", "--key-passphrase: says no place; ..."},
    {LISTEN " --listen-key-passphrase pass:x", "--listen-key-passphrase: says no place; ..."},
    /* consumers */
    {LISTEN " --listen-client required",
     "--listen-client 'required': given without --listen-ca; give the CA of consumers' "
     "certificates: --listen-ca FILE"},
    {LISTEN " --listen-client optional", "--listen-client 'optional': given without ..."},
    {LISTEN " --listen-client none --listen-ca a",
     "--listen-ca: would not be used, as --listen-client is 'none'" OMIT},
    {LISTEN " --listen-client none --listen-ca-dir a",
     "--listen-ca-dir: would not be used, as ..."},
    {LISTEN " --listen-allow-cn *",
     "--listen-allow-cn: would check nobody, as consumers are asked for no certificate; give the "
     "CA of theirs: --listen-ca FILE"},
    {LISTEN " --listen-allow-ou *", "--listen-allow-ou: would check nobody, ..."},
    {LISTEN " --listen-allow-dns *", "--listen-allow-dns: would check nobody, ..."},
    {LISTEN " --listen-allow-uri *", "--listen-allow-uri: would check nobody, ..."},
    {LISTEN " --listen-allow-pin *", "--listen-allow-pin: would check nobody, ..."},
    {LISTEN " --listen-crl c", "--listen-crl: would check nobody, ..."},
    {LISTEN " --listen-crl-dir c", "--listen-crl-dir: would check nobody, ..."},
    {LISTEN " --listen-client none --listen-allow-uri *",
     "--listen-allow-uri: would not be used, as --listen-client is 'none'" OMIT},
    /* what goes without saying */
    {BOTH " --pins-policy enforce", "--pins-policy: would not be used without --pins; give --pins "
                                    "sha256//BASE64 or leave it out"},
    {BOTH " --ocsp off --revocation-policy report",
     "--revocation-policy: would not be used, as --ocsp is 'off' and there is no --crl; give --crl "
     "FILE or leave it out"},
    {BOTH " --resumption false --resumption-age 1m",
     "--resumption-age: would not be used, as --resumption is false" OMIT},
    {LISTEN " --listen-tickets false --listen-ticket-keys k",
     "--listen-ticket-keys: would not be used, as --listen-tickets is false" OMIT},
    {LISTEN " --listen-tickets false --listen-ticket-rotation 1h",
     "--listen-ticket-rotation: would not be used, as --listen-tickets is false" OMIT},
    {LISTEN " --listen-ticket-keys k --listen-ticket-rotation 1h",
     "--listen-ticket-rotation: would not be used, as the keys of --listen-ticket-keys change when "
     "its file does" OMIT},
    {BOTH " --tls-min 1.3 --ciphers AES128-SHA",
     "--ciphers: would not be used, as it is for TLS 1.2 and --tls-min is 1.3" OMIT},
    {BOTH " --tls-max 1.2 --ciphersuites TLS_AES_128_GCM_SHA256",
     "--ciphersuites: would not be used, as it is for TLS 1.3 and --tls-max is 1.2" OMIT},
    {LISTEN " --tls-min 1.3 --listen-ciphers AES128-SHA",
     "--listen-ciphers: would not be used, as it is for TLS 1.2 and --listen-tls-min or --tls-min "
     "is 1.3" OMIT},
    {LISTEN " --listen-tls-max 1.2 --listen-ciphersuites TLS_AES_128_GCM_SHA256",
     "--listen-ciphersuites: would not be used, as ..."},
    {BOTH " --watch false --watch-interval 5s",
     "--watch-interval: would not be used, as --watch is false" OMIT},
    {BOTH " --max-handshakes 7", "--max-handshakes" NO_TLS_DOWN},
    {BOTH " --listen-client none", "--listen-client" NO_TLS_DOWN},
    {LISTEN " --pins sha256//x", "--pins" NO_TLS_UP},
    {LISTEN " --resumption false", "--resumption" NO_TLS_UP},
    /* versions */
    {LISTEN " --listen-tls-min 1.3 --listen-tls-max 1.2",
     "--listen-tls-min '1.3': above --listen-tls-max '1.2'; give a --listen-tls-max of 1.3 or "
     "leave one of them out"},
    {LISTEN " --listen-tls-min 1.3 --tls-max 1.2",
     "--listen-tls-min '1.3': above --tls-max '1.2'; give a --tls-max of 1.3 or leave one of them "
     "out"},
    {LISTEN " --tls-min 1.3 --listen-tls-max 1.2",
     "--tls-min '1.3': above --listen-tls-max '1.2'; give a --listen-tls-max of 1.3 or leave one "
     "of them out"},
    {LISTEN " --tls-min 1.3 --listen-tls-min 1.3",
     "--tls-min: would not be used, as no --connect is tls:// and --listen-tls-min is given" OMIT},
    {LISTEN " --tls-max 1.3 --listen-tls-max 1.3", "--tls-max: would not be used, as no ..."},
    /* names */
    {BOTH " --verify-names good.example --verify-names two~words",
     "--verify-names 'two words' is neither a host name nor an IP address: ..."},
};

static bool as_expected(const char *text, const char *expected)
{
    const size_t length = strlen(expected);
    if (length >= 3 && strcmp(expected + length - 3, "...") == 0) {
        return strncmp(text, expected, length - 3) == 0 && strlen(text) > length - 3;
    }
    return strcmp(text, expected) == 0;
}

static void each_is_answered(const struct answered *lines, size_t count)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        struct config c;
        struct error err;
        enum command command = COMMAND_RUN;
        if (parse(&c, lines[i].line, &command, &err) || !err.set ||
            !as_expected(err.text, lines[i].error)) {
            print_error("%s\n  is answered: %s\n  instead of:  %s\n", lines[i].line,
                        err.set ? err.text : "(nothing)", lines[i].error);
            wrong++;
        }
        assert_null(strpbrk(err.text, "\n\r\x1b"));
        config_fini(&c);
    }
    assert_int_equal(wrong, 0);
}

static void bad_lines_are_answered(void **state)
{
    (void)state;
    each_is_answered(bad_lines, sizeof(bad_lines) / sizeof(bad_lines[0]));
}

static void bad_tls_lines_are_answered(void **state)
{
    (void)state;
    each_is_answered(bad_tls_lines, sizeof(bad_tls_lines) / sizeof(bad_tls_lines[0]));
}

static void no_argv_at_all(void **state)
{
    (void)state;
    char *none[] = {NULL};
    struct config c;
    struct error err;
    enum command command = COMMAND_RUN;
    error_init(&err);
    assert_true(config_set_up(&c, &err));
    assert_false(config_from_command_line(&c, 0, none, &command, &err)); /* execve(2) allows it */
    assert_true(err.set);
    config_fini(&c);
}

static void a_huge_value_is_cut_in_the_answer(void **state)
{
    (void)state;
    static char value[100000];
    memset(value, '\x02', sizeof(value) - 1);
    char name[] = "esclusa";
    char option[] = "--workers";
    char *argv[] = {name, option, value, NULL};
    struct config c;
    struct error err;
    enum command command = COMMAND_RUN;
    error_init(&err);
    assert_true(config_set_up(&c, &err));
    assert_false(config_from_command_line(&c, 3, argv, &command, &err));
    assert_non_null(strstr(err.text, "...': not a whole number; give 1 to 256"));
    config_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_lines_are_taken),
        cmocka_unit_test(values_land_where_they_belong),
        cmocka_unit_test(bad_lines_are_answered),
        cmocka_unit_test(bad_tls_lines_are_answered),
        cmocka_unit_test(no_argv_at_all),
        cmocka_unit_test(a_huge_value_is_cut_in_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
