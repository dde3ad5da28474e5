/* What a reload would verify less: each kind of setting, both ways. Nothing is read from files: the
 * comparison needs to know only that a side has TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config/config_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char some_profile;

static void *profile_if(bool tls)
{
    return tls ? &some_profile : NULL;
}

static void fill(struct service *s, const struct service_config *c)
{
    struct error err;
    bool listens = false, connects = false;
    error_init(&err);
    s->config = c;
    s->listener_count = c->listen.count;
    s->upstream_count = c->connect.count;
    s->listeners = calloc(s->listener_count, sizeof *s->listeners);
    s->upstreams = calloc(s->upstream_count, sizeof *s->upstreams);
    for (size_t i = 0; i < s->listener_count; i++) {
        struct listen_at *at = &s->listeners[i];
        assert_true(net_endpoint_parse(&at->endpoint, c->listen.items[i], NET_LISTEN, &err));
        net_endpoint_format(&at->endpoint, at->text, sizeof at->text);
        listens = listens || at->endpoint.scheme == NET_TLS;
    }
    for (size_t i = 0; i < s->upstream_count; i++) {
        struct upstream *up = &s->upstreams[i];
        assert_true(net_endpoint_parse(&up->endpoint, c->connect.items[i], NET_CONNECT, &err));
        net_endpoint_format(&up->endpoint, up->text, sizeof up->text);
        connects = connects || up->endpoint.scheme == NET_TLS;
    }
    s->downstream_tls = profile_if(listens);
    s->upstream_tls = profile_if(connects);
}

static void make(struct snapshot *s, const char *text)
{
    struct error err;
    error_init(&err);
    memset(s, 0, sizeof *s);
    assert_true(config_set_up(&s->config, &err));
    if (!config_from_text(&s->config, "t.cfg", text, strlen(text), &err))
        fail_msg("%s: %s", text, err.text);
    s->service_count = s->config.service_count;
    s->services = calloc(s->service_count, sizeof *s->services);
    for (size_t i = 0; i < s->service_count; i++)
        fill(&s->services[i], &s->config.services[i]);
}

static void unmake(struct snapshot *s)
{
    for (size_t i = 0; i < s->service_count; i++) {
        free(s->services[i].listeners);
        free(s->services[i].upstreams);
    }
    free(s->services);
    config_fini(&s->config);
}

static char told[2048];

static void tell(void *context, const char *service, const char *change)
{
    const size_t length = strlen(told);
    assert_ptr_equal(context, &some_profile);
    snprintf(told + length, sizeof told - length, "[%s] %s\n", service, change);
}

static const char *weigh(const char *before, const char *after)
{
    struct snapshot old, new;
    make(&old, before);
    make(&new, after);
    told[0] = '\0';
    const bool weaker = snapshot_weakens(&old, &new, tell, &some_profile);
    assert_int_equal(weaker, told[0] != '\0');
    unmake(&old);
    unmake(&new);
    return told;
}

/* One service with these settings before and after. expected "": not weaker. */
struct change {
    const char *before, *after, *expected;
};

static void weigh_all(const char *frame, const struct change *changes, size_t count)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        char before[1024], after[1024], expected[1024];
        snprintf(before, sizeof before, "services = ( { name = \"s\"; %s %s } );", frame,
                 changes[i].before);
        snprintf(after, sizeof after, "services = ( { name = \"s\"; %s %s } );", frame,
                 changes[i].after);
        snprintf(expected, sizeof expected, changes[i].expected[0] == '\0' ? "%s" : "[s] %s\n",
                 changes[i].expected);
        const char *got = weigh(before, after);
        if (strcmp(got, expected) != 0) {
            print_error("%s\n to %s\n is: %s\n instead of: %s\n", changes[i].before,
                        changes[i].after, got, expected);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

#define ALL(frame, changes) weigh_all(frame, changes, sizeof(changes) / sizeof((changes)[0]))

static void upstreams(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {"", "", ""},
        {"idle_timeout = \"1h\";", "idle_timeout = \"2h\";", ""},
        /* texts and lists that are gone */
        {"pins = [\"p\", \"q\"];", "", "pins: p, q -> none"},
        {"pins = [\"p\", \"q\"];", "pins = \"r\";", ""},
        {"", "pins = \"p\";", ""},
        {"tlsa = \"3 1 1 00\";", "", "tlsa: 3 1 1 00 -> none"},
        {"tlsa = \"3 1 1 00\";", "pins = \"x\";", "tlsa: 3 1 1 00 -> none"},
        /* a record in place of the system's trust store */
        {"", "tlsa = \"3 1 1 00\";", "tlsa: none -> 3 1 1 00"},
        {"", "tlsa = \" 2 1 1 00\";", "tlsa: none ->  2 1 1 00"},
        {"", "tlsa = [\"1 1 1 00\", \"2 0 1 00\"];", "tlsa: none -> 1 1 1 00, 2 0 1 00"},
        {"tlsa = \"1 1 1 00\";", "tlsa = \"3 1 1 00\";", "tlsa: 1 1 1 00 -> 3 1 1 00"},
        {"", "tlsa = [\"0 1 1 00\", \"1 0 1 00\"];", ""},
        {"tlsa = \"3 1 1 00\";", "tlsa = \"2 1 1 11\";", ""},
        {"ca = \"a\";", "ca = \"a\"; tlsa = \"3 1 1 00\";", ""},
        {"ca = \"a\";", "ca_dir = \"a\"; tlsa = \"3 1 1 00\";", ""},
        {"ca = \"a\";", "tlsa = \"3 1 1 00\";", "ca: a -> none\n[s] tlsa: none -> 3 1 1 00"},
        {"ca = \"a\"; tlsa = \"3 1 1 00\";", "tlsa = \"3 1 1 00\";", "ca: a -> none"},
        {"insecure_skip_verify = true;", "tlsa = \"3 1 1 00\";", ""},
        {"ca = \"a\";", "", "ca: a -> none"},
        {"ca_dir = \"a\";", "", "ca_dir: a -> none"},
        {"ca = \"a\";", "ca = \"b\";", ""},
        {"ca = \"a\";", "ca_dir = \"b\";", ""},
        {"ca = \"a\"; ca_dir = \"b\";", "ca_dir = \"b\";", ""},
        {"crl = \"a\";", "", "crl: a -> none"},
        {"crl = \"a\";", "crl_dir = \"b\";", ""},
        {"crl_dir = \"a\";", "", "crl_dir: a -> none"},
        /* words, weakest first */
        {"", "names_policy = \"report\";", "names_policy: enforce -> report"},
        {"names_policy = \"report\";", "", ""},
        {"x509_strict = \"on\";", "", "x509_strict: on -> report"},
        {"", "x509_strict = \"off\";", "x509_strict: report -> off"},
        {"", "x509_strict = \"on\";", ""},
        {"pins = \"p\";", "pins = \"p\"; pins_policy = \"report\";",
         "pins_policy: enforce -> report"},
        {"ocsp = \"require\";", "", "ocsp: require -> prefer"},
        {"", "ocsp = \"off\";", "ocsp: prefer -> off"},
        {"", "ocsp = \"require\";", ""},
        {"", "revocation_policy = \"report\";", "revocation_policy: enforce -> report"},
        {"on_revoked = \"close\";", "", "on_revoked: close -> log"},
        {"", "on_revoked = \"close\";", ""},
        {"", "security_level = 1;", "security_level: 2 -> 1"},
        {"", "security_level = 3;", ""},
        {"tls_min = \"1.3\";", "", "tls_min: 1.3 -> 1.2"},
        {"", "tls_min = \"1.3\";", ""},
        /* the glass */
        {"", "insecure_skip_verify = true;", "insecure_skip_verify: false -> true"},
        {"insecure_skip_verify = true;", "", ""},
        {"insecure_skip_verify = true;", "names_policy = \"report\"; ocsp = \"off\";", ""},
        {"pins = \"p\"; names_policy = \"enforce\";", "insecure_skip_verify = true;",
         "insecure_skip_verify: false -> true"},
        /* what does not verify anything, or nothing any more */
        {"", "pins = \"p\"; pins_policy = \"report\";", ""},
        {"resumption = true;", "resumption = false;", ""},
        {"verify_names = \"a\";", "verify_names = \"b\";", ""},
        {"server_name = \"a\";", "", ""},
        {"tls_max = \"1.3\";", "tls_max = \"1.2\";", ""},
        {"cert = \"a\";", "", ""},
        {"ocsp = \"prefer\"; crl = \"c\";", "ocsp = \"off\"; crl = \"c\";", "ocsp: prefer -> off"},
    };
    ALL("listen = \"8080\"; connect = \"h:443\";", changes);
}

static void listeners(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {"", "", ""},
        {"", "listen_ca = \"a\";", ""},
        {"listen_ca = \"a\";", "", "listen_ca: a -> none\n[s] listen_client: required -> none"},
        {"listen_ca = \"a\";", "listen_ca_dir = \"a\";", ""},
        {"listen_ca = \"a\";", "listen_ca = \"a\"; listen_client = \"required\";", ""},
        {"listen_ca = \"a\";", "listen_ca = \"a\"; listen_client = \"optional\";",
         "listen_client: required -> optional"},
        {"listen_ca = \"a\"; listen_client = \"optional\";", "listen_ca = \"a\";", ""},
        {"listen_ca = \"a\"; listen_client = \"optional\";", "listen_client = \"none\";",
         "listen_client: optional -> none"},
        {"", "listen_client = \"none\";", ""},
        {"listen_ca = \"a\"; listen_allow_cn = \"x\";", "listen_ca = \"a\";",
         "listen_allow_cn: x -> none"},
        {"listen_ca = \"a\"; listen_allow_cn = \"x\"; listen_allow_uri = \"y\";",
         "listen_ca = \"a\"; listen_allow_uri = \"y\";", ""},
        {"listen_ca = \"a\"; listen_allow_cn = \"x\"; listen_allow_uri = \"y\";",
         "listen_ca = \"a\";", "listen_allow_cn: x -> none\n[s] listen_allow_uri: y -> none"},
        {"listen_ca = \"a\";", "listen_ca = \"a\"; listen_allow_pin = \"x\";", ""},
        {"listen_ca = \"a\"; listen_crl = \"x\";", "listen_ca = \"a\"; listen_crl_dir = \"x\";",
         ""},
        {"listen_ca = \"a\"; listen_crl_dir = \"x\";", "listen_ca = \"a\";",
         "listen_crl_dir: x -> none"},
        {"listen_sni_strict = true;", "", "listen_sni_strict: true -> false"},
        {"", "listen_sni_strict = true;", ""},
        {"", "listen_security_level = 0;", "listen_security_level: 2 -> 0"},
        {"", "listen_tickets = false;", ""},
        {"listen_tickets = false;", "", ""},
        /* by what is in effect */
        {"listen_tls_min = \"1.3\";", "", "listen_tls_min: 1.3 -> 1.2"},
        {"tls_min = \"1.3\";", "listen_tls_min = \"1.3\";", ""},
        {"listen_tls_min = \"1.3\";", "tls_min = \"1.3\";", ""},
        {"tls_min = \"1.3\";", "", "listen_tls_min: 1.3 -> 1.2"},
        {"tls_min = \"1.3\";", "listen_tls_min = \"1.2\";", "listen_tls_min: 1.3 -> 1.2"},
        {"listen_tls_min = \"1.2\";", "", ""},
    };
    ALL("listen = \"tls://1.1.1.1:1\"; listen_cert = \"c\"; connect = \"tcp://h:80\";", changes);
}

static void tls_that_became_plain(void **state)
{
    (void)state;
    static const struct change connects[] = {
        {"connect = \"h:443\";", "connect = \"tcp://h:443\";", "connect: h:443 -> tcp://h:443"},
        {"connect = \"h:443\"; pins = \"p\";", "connect = \"unix:/x\";",
         "connect: h:443 -> unix:/x"},
        {"connect = [\"a:1\", \"b:2\"];", "connect = [\"a:1\", \"tcp://b:2\"];",
         "connect: a:1, b:2 -> a:1, tcp://b:2"},
        {"connect = \"a:1\";", "connect = [\"a:1\", \"tcp://b:2\"];",
         "connect: a:1 -> a:1, tcp://b:2"},
        {"connect = [\"a:1\", \"tcp://b:2\"];", "connect = \"tcp://b:2\";", ""},
        {"connect = [\"a:1\", \"tcp://b:2\"];", "connect = [\"tcp://b:2\", \"tls://a:1\"];", ""},
        {"connect = [\"a:1\", \"b:2\"];", "connect = \"b:2\";", ""},
        {"connect = \"a:1\";", "connect = \"b:1\";", ""},
        {"connect = \"tcp://a:1\";", "connect = \"tcp://b:1\";", ""},
        {"connect = \"tcp://a:1\";", "connect = \"a:1\";", ""},
    };
    static const struct change listens[] = {
        {"listen = \"tls://1.1.1.1:1\"; listen_cert = \"c\"; listen_ca = \"a\";",
         "listen = \"1.1.1.1:1\";", "listen: tls://1.1.1.1:1 -> 1.1.1.1:1"},
        {"listen = \"tls://1.1.1.1:1\"; listen_cert = \"c\";",
         "listen = [\"tls://1.1.1.1:1\", \"8080\"]; listen_cert = \"c\";",
         "listen: tls://1.1.1.1:1 -> tls://1.1.1.1:1, 8080"},
        {"listen = [\"tls://1.1.1.1:1\", \"8080\"]; listen_cert = \"c\";",
         "listen = \"127.0.0.1:8080\";", ""},
        {"listen = \"8080\";", "listen = [\"8080\", \"8081\"];", ""},
        {"listen = \"8080\";", "listen = \"tls://1.1.1.1:1\"; listen_cert = \"c\";", ""},
    };
    ALL("listen = \"8080\";", connects);
    ALL("connect = \"tcp://h:80\";", listens);
}

#define SERVICE(name, port, rest)                                                                  \
    "{ name = \"" name "\"; listen = \"" port "\"; connect = \"h:443\"; " rest "}"

static void services_are_compared_by_name(void **state)
{
    (void)state;
    static const char both[] = "services = (" SERVICE("a", "1", "pins = \"p\"; ") "," SERVICE(
        "b", "2", "ocsp = \"require\"; ") ");";
    static const char turned[] = "services = (" SERVICE(
        "b", "2", "ocsp = \"require\"; ") "," SERVICE("a", "1", "pins = \"p\"; ") ");";
    static const char less[] = "services = (" SERVICE("b", "2", "") "," SERVICE("a", "1", "") ");";
    static const char others[] = "services = (" SERVICE("c", "2", "") ");";
    static const char one[] = "services = (" SERVICE("a", "1", "pins = \"p\"; ") ");";
    assert_string_equal(weigh(both, turned), "");
    assert_string_equal(weigh(both, less), "[a] pins: p -> none\n[b] ocsp: require -> prefer\n");
    assert_string_equal(weigh(both, others), ""); /* removed, and new */
    assert_string_equal(weigh(one, both), "");
}

/* From `defaults` as from the service. */
static void defaults_count(void **state)
{
    (void)state;
    static const char before[] =
        "defaults = { crl = \"c\"; listen_ca = \"l\"; };\nservices = (" SERVICE(
            "a", "1", "") ", { name = \"b\"; listen = \"tls://1.1.1.1:2\"; listen_cert = \"c\"; "
                          "connect = \"tcp://h:80\"; } );";
    static const char after[] = "services = (" SERVICE(
        "a", "1", "") ", { name = \"b\"; listen = \"tls://1.1.1.1:2\"; listen_cert = \"c\"; "
                      "connect = \"tcp://h:80\"; } );";
    assert_string_equal(weigh(before, after), "[a] crl: c -> none\n[b] listen_ca: l -> none\n"
                                              "[b] listen_client: required -> none\n");
    assert_string_equal(weigh(after, before), "");
}

static int64_t *number_of(const struct option_row *row, struct service_config *c)
{
    return (int64_t *)(void *)((char *)c + row->offset);
}

static void forget(char **text)
{
    free(*text);
    *text = NULL;
}

/* With what the text below gives of its kin. */
static void take_away(const struct option_row *row, struct service_config *c)
{
    if (row->type == OPTION_TEXT_LIST) {
        text_list_clear((struct text_list *)(void *)((char *)c + row->offset));
        return;
    }
    forget((char **)(void *)((char *)c + row->offset));
    if (strncmp(row->name, "crl", 3) == 0)
        forget(&c->crl);
    if (strncmp(row->name, "listen_ca", 9) == 0)
        forget(&c->listen_ca);
}

/* Whoever adds a row that can be weaker has it weighed. */
static void every_row_that_can_be_weaker_is_weighed(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        struct snapshot old, new;
        struct error err;
        const char *text =
            "services = ( { name = \"s\"; listen = \"tls://1.1.1.1:1\"; listen_cert = \"c\"; "
            "connect = \"h:1\"; pins = \"p\"; crl = \"c\"; listen_ca = \"a\"; "
            "proxy = \"https://p:1\"; } );";
        if (row->weaker == WEAKER_NEVER)
            continue;
        make(&old, text);
        make(&new, text);
        error_init(&err);
        struct service_config *more =
            row->weaker == WEAKER_IF_MORE ? &new.config.services[0] : &old.config.services[0];
        struct service_config *less =
            row->weaker == WEAKER_IF_MORE ? &old.config.services[0] : &new.config.services[0];
        if (row->weaker == WEAKER_IF_GONE) {
            take_away(row, less);
            assert_true(option_store(row, more, "x", &err));
        } else {
            *number_of(row, less) = row->choices != NULL ? row->choices[0].value : 0;
            *number_of(row, more) = row->choices != NULL ? row->choices[1].value : 1;
        }
        told[0] = '\0';
        assert_true(snapshot_weakens(&old, &new, tell, &some_profile));
        if (strstr(told, row->name) == NULL)
            fail_msg("%s is not told: %s", row->name, told);
        unmake(&old);
        unmake(&new);
    }
}

static void networks_of_consumers(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {"", "allow_from = \"10.0.0.0/8\";", ""},
        {"allow_from = \"10.0.0.0/8\";", "", "allow_from: 10.0.0.0/8 -> none"},
        {"allow_from = \"10.0.0.0/8\";", "allow_from = [\"10.1.0.0/16\", \"10.2.0.1\"];", ""},
        {"allow_from = \"10.0.0.0/8\";", "allow_from = [\"10.0.0.0/8\", \"0.0.0.0/0\"];",
         "allow_from: 10.0.0.0/8 -> 10.0.0.0/8, 0.0.0.0/0"},
        {"allow_from = [\"10.0.0.0/8\", \"::1\"];", "allow_from = \"::1\";", ""},
        {"", "deny_from = \"10.0.0.0/8\";", ""},
        {"deny_from = [\"10.0.0.0/8\", \"::1\"];", "deny_from = \"::1\";",
         "deny_from: 10.0.0.0/8, ::1 -> ::1"},
        {"deny_from = \"10.0.0.0/8\";", "deny_from = \"10.0.0.0/9\";",
         "deny_from: 10.0.0.0/8 -> 10.0.0.0/9"},
        {"forbid_private_upstreams = true;", "forbid_private_upstreams = true;", ""},
        {"", "forbid_private_upstreams = true;", ""},
        {"forbid_private_upstreams = true;", "", "forbid_private_upstreams: true -> false"},
        {"forbid_private_upstreams = true; allow_upstreams = \"10.0.0.0/8\";",
         "forbid_private_upstreams = true; allow_upstreams = [\"10.1.0.0/16\"];", ""},
        {"forbid_private_upstreams = true;",
         "forbid_private_upstreams = true; allow_upstreams = \"10.0.0.0/8\";",
         "allow_upstreams: none -> 10.0.0.0/8"},
        {"", "accept_proxy = \"v2\"; proxy_from = \"10.0.0.0/8\";", ""},
        {"accept_proxy = \"v2\"; proxy_from = \"10.0.0.0/8\";", "", "accept_proxy: v2 -> off"},
        {"accept_proxy = \"v2\"; proxy_from = \"10.0.0.0/8\";",
         "accept_proxy = \"any\"; proxy_from = \"10.1.0.0/16\";", ""},
        {"accept_proxy = \"v2\"; proxy_from = \"10.0.0.0/8\";",
         "accept_proxy = \"v2\"; proxy_from = \"10.0.0.0/7\";",
         "proxy_from: 10.0.0.0/8 -> 10.0.0.0/7"},
        {"deny_from = [\"10.0.0.0/8\", \"11.0.0.0/8\"];", "deny_from = \"10.0.0.0/7\";", ""},
    };
    ALL("listen = \"1\"; connect = \"tcp://a:1\";", changes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upstreams),
        cmocka_unit_test(listeners),
        cmocka_unit_test(tls_that_became_plain),
        cmocka_unit_test(networks_of_consumers),
        cmocka_unit_test(services_are_compared_by_name),
        cmocka_unit_test(defaults_count),
        cmocka_unit_test(every_row_that_can_be_weaker_is_weighed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
