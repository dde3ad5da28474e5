/* Snapshots: what becomes of a config, who owns what, and how it is put in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/config.h>
#include <esclusa/str.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a folder with a certificate, its key and another key ---- */

#define FOLDER_TEMPLATE "/tmp/esclusa-snapshot-XXXXXX"

static char folder[sizeof(FOLDER_TEMPLATE)];
static char cert_path[64], key_path[64], other_key_path[64], both_path[64];

static void write_pem(const char *path, X509 *cert, EVP_PKEY *key)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(cert == NULL || PEM_write_X509(file, cert) == 1);
    assert_true(key == NULL || PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    assert_int_equal(fclose(file), 0);
}

static X509 *self_signed(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    assert_non_null(cert);
    X509_NAME *name = X509_get_subject_name(cert);
    assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -3600));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (const unsigned char *)"snapshot test", -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(cert, name), 1);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

static void path_in_folder(char *dst, size_t size, const char *name)
{
    size_t length = 0;
    assert_true(str_append(dst, size, &length, "%s/%s", folder, name));
}

static int make_files(void **state)
{
    (void)state;
    memcpy(folder, FOLDER_TEMPLATE, sizeof(folder));
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    path_in_folder(cert_path, sizeof(cert_path), "cert.pem");
    path_in_folder(key_path, sizeof(key_path), "key.pem");
    path_in_folder(other_key_path, sizeof(other_key_path), "other.pem");
    path_in_folder(both_path, sizeof(both_path), "both.pem");
    EVP_PKEY *key = EVP_EC_gen("P-256");
    EVP_PKEY *other = EVP_EC_gen("P-256");
    if (key == NULL || other == NULL) {
        return -1;
    }
    X509 *cert = self_signed(key);
    write_pem(cert_path, cert, NULL);
    write_pem(key_path, NULL, key);
    write_pem(other_key_path, NULL, other);
    write_pem(both_path, cert, key);
    X509_free(cert);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    const char *const paths[] = {cert_path, key_path, other_key_path, both_path};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        (void)unlink(paths[i]);
    }
    return rmdir(folder);
}

/* ---- configs ---- */

/* Words up to a NULL; "$CERT", "$KEY", "$OTHER", "$BOTH" stand for the files. */
static void config_of(struct config *c, const char *const words[])
{
    static const struct {
        const char *word, *path;
    } files[] = {
        {"$CERT", cert_path}, {"$KEY", key_path}, {"$OTHER", other_key_path}, {"$BOTH", both_path}};
    char storage[24][96];
    char *argv[25];
    int argc = 0;
    memcpy(storage[0], "esclusa", sizeof("esclusa"));
    argv[argc] = storage[argc];
    argc++;
    for (; words[argc - 1] != NULL; argc++) {
        const char *word = words[argc - 1];
        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
            word = strcmp(word, files[i].word) == 0 ? files[i].path : word;
        }
        assert_true(argc < 24);
        assert_true(str_copy(storage[argc], sizeof(storage[argc]), word));
        argv[argc] = storage[argc];
    }
    argv[argc] = NULL;
    struct error err;
    enum command command = COMMAND_RUN;
    error_init(&err);
    assert_true(config_set_up(c, &err));
    if (!config_from_command_line(c, argc, argv, &command, &err)) {
        fail_msg("%s", err.text);
    }
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct snapshot *snapshot_of(const char *const words[])
{
    struct config c;
    struct error err;
    config_of(&c, words);
    error_init(&err);
    struct snapshot *s = snapshot_create(&c, 0, &err);
    if (s == NULL) {
        fail_msg("%s", err.text);
    }
    config_fini(&c); /* empty now: nothing is freed twice */
    return s;
}

static void assert_described(const struct snapshot *s, size_t listener, const char *expected)
{
    char sentence[SERVICE_TEXT_MAX];
    service_describe(&s->services[0], &s->services[0].listeners[listener], sentence,
                     sizeof(sentence));
    assert_string_equal(sentence, expected);
}

/* ---- what it holds ---- */

#define UP   "-l", "8080", "-c", "host:443"
#define DOWN "-l", "tls://127.0.0.1:8443", "-c", "tcp://host:80"

static void a_plain_relay(void **state)
{
    (void)state;
    struct config c;
    struct error err;
    error_init(&err);
    config_of(&c, WORDS("-l", "8080", "-l", "unix:@in", "-c", "tcp://host:80", "-c", "unix:/out",
                        "--workers", "3"));
    struct snapshot *s = snapshot_create(&c, 0, &err);
    assert_non_null(s);
    assert_null(c.services);
    assert_int_equal(c.service_count, 0);
    config_fini(&c);

    assert_int_equal(s->workers, 3);
    assert_int_equal(s->service_count, 1);
    const struct service *service = &s->services[0];
    assert_ptr_equal(service->config, &s->config.services[0]);
    assert_int_equal(service->listener_count, 2);
    assert_int_equal(service->upstream_count, 2);
    assert_string_equal(service->listeners[0].text, "tcp://127.0.0.1:8080");
    assert_string_equal(service->listeners[1].text, "unix:@in");
    assert_int_equal(service->upstreams[0].endpoint.scheme, NET_TCP);
    assert_string_equal(service->upstreams[0].text, "tcp://host:80");
    assert_string_equal(service->upstreams[0].peer.server_name.text, "");
    assert_int_equal(service->upstreams[1].endpoint.scheme, NET_UNIX);
    assert_null(service->upstream_tls);
    assert_null(service->downstream_tls);
    assert_described(s, 0,
                     "tcp://127.0.0.1:8080 -> tcp://host:80 in plain, else unix:/out in "
                     "plain");
    assert_described(s, 1, "unix:@in -> tcp://host:80 in plain, else unix:/out in plain");
    snapshot_unref(&s);
    assert_null(s);
    snapshot_unref(&s); /* harmless */
}

static void workers_follow_the_cpus(void **state)
{
    (void)state;
    struct snapshot *s = snapshot_of(WORDS("-l", "8080", "-c", "tcp://host:80"));
    const unsigned cpus = cpu_allowance();
    assert_int_equal(s->workers, cpus < 256 ? cpus : 256);
    snapshot_unref(&s);
}

static void each_upstream_must_bear_its_own_name(void **state)
{
    (void)state;
    struct snapshot *s = snapshot_of(WORDS(
        "-l", "8080", "-c", "a.example:443", "-c", "192.0.2.7:443", "-c", "tls://[2001:db8::1]:443",
        "-c", "tls://[fe80::1%lo]:443", "-c", "tcp://plain:80", "--ca", "$CERT"));
    const struct service *service = &s->services[0];
    assert_string_equal(service->upstreams[0].peer.server_name.text, "a.example");
    assert_int_equal(service->upstreams[0].peer.server_name.kind, TLS_NAME_DNS);
    assert_string_equal(service->upstreams[1].peer.server_name.text, "192.0.2.7");
    assert_int_equal(service->upstreams[1].peer.server_name.kind, TLS_NAME_IP);
    assert_string_equal(service->upstreams[2].peer.server_name.text, "2001:db8::1");
    assert_int_equal(service->upstreams[2].peer.server_name.kind, TLS_NAME_IP);
    assert_string_equal(service->upstreams[3].peer.server_name.text, "fe80::1");
    assert_int_equal(service->upstreams[3].peer.server_name.kind, TLS_NAME_IP);
    assert_string_equal(service->upstreams[4].peer.server_name.text, "");
    assert_non_null(service->upstream_tls);
    assert_null(service->downstream_tls);
    for (size_t i = 0; i < 4; i++) {
        const struct tls_peer *peer = &service->upstreams[i].peer;
        assert_int_equal(peer->name_count, 1);
        assert_ptr_equal(peer->names, &peer->server_name);
        for (size_t j = 0; j < i; j++) {
            assert_true(peer->id != service->upstreams[j].peer.id);
        }
    }
    snapshot_unref(&s);
}

/* What is sent as SNI and what must be in the certificate are two settings. */
static void verify_names_are_apart_from_the_server_name(void **state)
{
    (void)state;
    struct snapshot *s =
        snapshot_of(WORDS(UP, "-c", "192.0.2.7:443", "--ca", "$CERT", "--verify-names",
                          "A.example.", "--verify-names", "spiffe://Trust/Path"));
    const struct service *service = &s->services[0];
    for (size_t i = 0; i < 2; i++) {
        const struct tls_peer *peer = &service->upstreams[i].peer;
        assert_string_equal(peer->server_name.text, i == 0 ? "host" : "192.0.2.7");
        assert_int_equal(peer->name_count, 2);
        assert_string_equal(peer->names[0].text, "a.example");
        assert_string_equal(peer->names[1].text, "spiffe://trust/Path");
        assert_int_equal(peer->names[1].kind, TLS_NAME_URI);
    }
    char sentence[SERVICE_TEXT_MAX];
    service_describe(service, &service->listeners[0], sentence, sizeof(sentence));
    assert_non_null(strstr(sentence, " verified as a.example or spiffe://trust/Path against "));
    snapshot_unref(&s);
}

static void server_name_is_for_all(void **state)
{
    (void)state;
    struct snapshot *s =
        snapshot_of(WORDS("-l", "8080", "-c", "a:443", "-c", "192.0.2.7:443", "--server-name",
                          "b.example", "--ca", "$CERT", "--cert", "$BOTH"));
    const struct service *service = &s->services[0];
    assert_string_equal(service->upstreams[0].peer.server_name.text, "b.example");
    assert_string_equal(service->upstreams[1].peer.server_name.text, "b.example");
    assert_int_equal(service->upstreams[1].peer.server_name.kind, TLS_NAME_DNS);

    char expected[1024];
    size_t length = 0;
    const char *trust = tls_profile_trust(service->upstream_tls);
    assert_true(str_append(expected, sizeof(expected), &length,
                           "tcp://127.0.0.1:8080 -> tls://a:443 verified as b.example against %s "
                           "with client certificate %s, else tls://192.0.2.7:443 verified as "
                           "b.example against %s with client certificate %s",
                           trust, both_path, trust, both_path));
    assert_described(s, 0, expected);
    snapshot_unref(&s);
}

static void a_tls_listener(void **state)
{
    (void)state;
    struct snapshot *s = snapshot_of(WORDS("-l", "tls://127.0.0.1:8443", "-l", "8080", "-c",
                                           "tcp://host:80", "--listen-cert", "$BOTH"));
    assert_null(s->services[0].upstream_tls);
    assert_non_null(s->services[0].downstream_tls);
    assert_described(s, 0, "tls://127.0.0.1:8443 -> tcp://host:80 in plain");
    snapshot_unref(&s);

    s = snapshot_of(WORDS("-l", "tls://127.0.0.1:8443", "-l", "8080", "-c", "tcp://host:80",
                          "--listen-cert", "$CERT", "--listen-key", "$KEY", "--listen-ca",
                          "$CERT"));
    char expected[512];
    size_t length = 0;
    assert_true(str_append(expected, sizeof(expected), &length,
                           "tls://127.0.0.1:8443 consumers verified against %s -> tcp://host:80 in "
                           "plain",
                           tls_profile_trust(s->services[0].downstream_tls)));
    assert_described(s, 0, expected);
    assert_described(s, 1, "tcp://127.0.0.1:8080 -> tcp://host:80 in plain");
    snapshot_unref(&s);
}

/* From a file: the text is that of a service's block, with $CERT and the like. */
static struct snapshot *snapshot_of_text(const char *text, struct error *err)
{
    struct config c;
    char *replaced = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&replaced, &size);
    assert_non_null(out);
    for (const char *p = text; *p != '\0'; p++) {
        if (strncmp(p, "$CERT", 5) == 0) {
            fputs(cert_path, out);
            p += 4;
        } else if (strncmp(p, "$BOTH", 5) == 0) {
            fputs(both_path, out);
            p += 4;
        } else {
            fputc(*p, out);
        }
    }
    assert_int_equal(fclose(out), 0);
    error_init(err);
    assert_true(config_set_up(&c, err));
    if (!config_from_text(&c, "t.cfg", replaced, size, err)) {
        fail_msg("%s", err->text);
    }
    struct snapshot *s = snapshot_create(&c, 1, err);
    config_fini(&c);
    free(replaced);
    return s;
}

/* What `defaults` says of consumers is not for a service that wants none of their certificates. */
static void a_listener_opts_out(void **state)
{
    (void)state;
    struct error err;
    struct snapshot *s = snapshot_of_text(
        "defaults = { listen_ca = \"$CERT\"; listen_allow_cn = \"x\"; listen_cert = \"$BOTH\"; "
        "connect_timeout = \"1s\"; };\nservices = (\n"
        "{ name = \"a\"; listen = \"tls://127.0.0.1:1\"; connect = \"tcp://h:80\"; "
        "listen_client = \"none\"; },\n"
        "{ name = \"b\"; listen = \"tls://127.0.0.1:2\"; connect = \"tcp://h:80\"; } );",
        &err);
    assert_non_null(s);
    assert_described(s, 0, "tls://127.0.0.1:1 -> tcp://h:80 in plain");
    assert_string_equal(tls_profile_trust(s->services[0].downstream_tls),
                        "no consumer certificates");
    snapshot_unref(&s);
}

/* ---- what goes wrong ---- */

static void bad_files_are_named_and_the_config_stays(void **state)
{
    (void)state;
    const struct {
        const char *const *words;
        const char *option, *path;
    } cases[] = {
        {WORDS(UP, "--ca", "/nonexistent/ca.pem"), "--ca ", "/nonexistent/ca.pem"},
        {WORDS(UP, "--ca", "$KEY"), "--ca ", key_path},
        {WORDS(UP, "--ca-dir", "/nonexistent/dir"), "--ca-dir ", "/nonexistent/dir"},
        {WORDS(UP, "--ca", "$CERT", "--cert", "/nonexistent/c.pem"), "--cert ",
         "/nonexistent/c.pem"},
        {WORDS(UP, "--ca", "$CERT", "--cert", "$CERT"), "--key", cert_path},
        {WORDS(UP, "--ca", "$CERT", "--cert", "$CERT", "--key", "/nonexistent/k.pem"), "--key ",
         "/nonexistent/k.pem"},
        {WORDS(UP, "--ca", "$CERT", "--cert", "$CERT", "--key", "$OTHER"), "--key", other_key_path},
        {WORDS(DOWN, "--listen-cert", "$CERT", "--listen-key", "$OTHER"), "--listen-key",
         other_key_path},
        {WORDS(DOWN, "--listen-cert", "$KEY", "--listen-key", "$KEY"), "--listen-cert", key_path},
        {WORDS(DOWN, "--listen-cert", "$CERT", "--listen-key", "$KEY", "--listen-ca", "/dev/null"),
         "--listen-ca ", "/dev/null"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config c;
        struct error err;
        error_init(&err);
        config_of(&c, cases[i].words);
        assert_null(snapshot_create(&c, 0, &err));
        assert_true(err.set);
        if (strstr(err.text, cases[i].option) == NULL || strstr(err.text, cases[i].path) == NULL) {
            fail_msg("case %zu: not named: %s and %s in: %s", i, cases[i].option, cases[i].path,
                     err.text);
        }
        assert_int_equal(c.service_count, 1);
        assert_int_equal(c.services[0].listen.count, 1);
        config_fini(&c);
    }
}

static void a_second_try_works(void **state)
{
    (void)state;
    struct config c;
    struct error err;
    error_init(&err);
    config_of(&c, WORDS(UP, "--ca", "/nonexistent/ca.pem"));
    assert_null(snapshot_create(&c, 0, &err));
    free(c.services[0].ca);
    c.services[0].ca = str_dup(cert_path);
    error_clear(&err);
    struct snapshot *s = snapshot_create(&c, 0, &err);
    assert_non_null(s);
    assert_false(err.set);
    snapshot_unref(&s);
}

/* ---- references ---- */

#define HOLDERS 8

static void *hold_and_drop(void *argument)
{
    struct snapshot *mine = argument;
    for (int i = 0; i < 2000; i++) {
        struct snapshot *another = snapshot_ref(mine);
        if (another->services[0].listeners[0].endpoint.port != 8080) {
            return argument;
        }
        snapshot_unref(&another);
    }
    snapshot_unref(&mine);
    return NULL;
}

static void the_last_of_many_threads_frees(void **state)
{
    (void)state;
    struct snapshot *s = snapshot_of(WORDS("-l", "8080", "-c", "tcp://host:80"));
    pthread_t threads[HOLDERS];
    for (size_t i = 0; i < HOLDERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_drop, snapshot_ref(s)), 0);
    }
    snapshot_unref(&s);
    for (size_t i = 0; i < HOLDERS; i++) {
        void *wrong = NULL;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
}

/* ---- in words ---- */

static void assert_printed(const struct snapshot *s, const char *expected)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    snapshot_print(s, out);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, expected);
    free(text);
}

static void what_would_run(void **state)
{
    (void)state;
    struct snapshot *s = snapshot_of(WORDS("-l", "8080", "-l", "unix:/a\\b", "-c", "tcp://host:80",
                                           "--workers", "2", "--idle-timeout", "90s",
                                           "--half-close", "tls13", "--drain-timeout", "0"));
    /* What only TLS would use is left out. */
    assert_printed(s, "workers = 2\n"
                      "max_connections = 0\n"
                      "dns = cares\n"
                      "dns_timeout = 2s\n"
                      "dns_tries = 3\n"
                      "dns_stale_max = 1h\n"
                      "watch = true\n"
                      "watch_interval = 2s\n"
                      "allow_weaker = false\n"
                      "drain_delay = 0\n"
                      "drain_timeout = 0\n"
                      "upgrade_timeout = 30s\n"
                      "upgrade_drain_timeout = 1h\n"
                      "keep_bind = false\n"
                      "sandbox = on\n"
                      "core_dumps = false\n"
                      "admin_allow_remote = false\n"
                      "admin_read_only = false\n"
                      "log_level = info\n"
                      "log_format = text\n"
                      "log_rate = 100\n"
                      "\n"
                      "[service default]\n"
                      "listen = 8080, unix:/a\\x5cb\n"
                      "connect = tcp://host:80\n"
                      "forbid_private_upstreams = false\n"
                      "warm_min = 0\n"
                      "race = tcp\n"
                      "race_delay = 250ms\n"
                      "check = off\n"
                      "backlog = 4096\n"
                      "max_service_connections = 0\n"
                      "max_consumer_connections = 0\n"
                      "accept_rate = 0\n"
                      "over_limit = wait\n"
                      "connect_timeout = 10s\n"
                      "handshake_timeout = 10s\n"
                      "idle_timeout = 90s\n"
                      "half_closed_timeout = 5m\n"
                      "linger_timeout = 5m\n"
                      "max_lifetime = 0\n"
                      "tcp_user_timeout = 0\n"
                      "listen_tcp_user_timeout = 0\n"
                      "half_close = tls13\n"
                      "missing_close_notify = reset\n"
                      "keepalive_idle = 1m\n"
                      "keepalive_interval = 15s\n"
                      "keepalive_probes = 4\n"
                      "listen_keepalive_idle = 1m\n"
                      "listen_keepalive_interval = 15s\n"
                      "listen_keepalive_probes = 4\n"
                      "accept_proxy = off\n"
                      "send_proxy = off\n"
                      "required = true\n"
                      "log_sessions = all\n"
                      "tcp://127.0.0.1:8080 -> tcp://host:80 in plain\n"
                      "unix:/a\\x5cb -> tcp://host:80 in plain\n");
    snapshot_unref(&s);
}

static void the_same_as_json(void **state)
{
    (void)state;
    struct snapshot *s =
        snapshot_of(WORDS("check", "--format", "json", "-l", "8080", "-l", "unix:/a\"b\xc3", "-c",
                          "tcp://host:80", "--workers", "2"));
    assert_printed(
        s, "{\"settings\":{\"workers\":2,\"max_connections\":0,\"dns\":\"cares\",\"dns_timeout\":"
           "\"2s\","
           "\"dns_tries\":3,\"dns_stale_max\":\"1h\",\"watch\":true,\"watch_interval\":\"2s\","
           "\"allow_weaker\":false,\"drain_delay\":\"0\",\"drain_timeout\":\"5s\","
           "\"upgrade_timeout\":\"30s\",\"upgrade_drain_timeout\":\"1h\","
           "\"keep_bind\":false,\"sandbox\":\"on\",\"core_dumps\":false,"
           "\"admin_allow_remote\":false,\"admin_read_only\":false,"
           "\"log_level\":\"info\",\"log_format\":\"text\",\"log_rate\":100},\"services\":[{"
           "\"name\":\"default\","
           "\"settings\":{\"listen\":[\"8080\",\"unix:/a\\\"b\\u00c3\"],"
           "\"connect\":[\"tcp://"
           "host:80\"],\"forbid_private_upstreams\":false,\"warm_min\":0,\"race\":\"tcp\","
           "\"race_delay\":\"250ms\",\"check\":\"off\",\"backlog\":4096,"
           "\"max_service_connections\":0,\"max_consumer_connections\":0,\"accept_rate\":0,"
           "\"over_limit\":\"wait\","
           "\"connect_timeout\":\"10s\",\"handshake_timeout\":\"10s\","
           "\"idle_timeout\":\"1h\",\"half_closed_timeout\":\"5m\",\"linger_timeout\":\"5m\",\"max_"
           "lifetime\":\"0\","
           "\"tcp_user_timeout\":\"0\",\"listen_tcp_user_timeout\":\"0\",\"half_close\":"
           "\"on\",\"missing_close_notify\":\"reset\","
           "\"keepalive_idle\":\"1m\",\"keepalive_interval\":\"15s\",\"keepalive_probes\":4,"
           "\"listen_keepalive_idle\":\"1m\",\"listen_keepalive_interval\":\"15s\","
           "\"listen_keepalive_probes\":4,\"accept_proxy\":\"off\",\"send_proxy\":\"off\","
           "\"required\":true,\"log_sessions\":\"all\"},\"listeners\":[\"tcp://"
           "127.0.0.1:8080 -> tcp://host:80 in plain\",\"unix:/a\\\"b\\u00c3 -> "
           "tcp://host:80 in plain\"],\"warnings\":[],\"certificates\":[]}]}\n");
    snapshot_unref(&s);
}

static char *printed(const struct snapshot *s)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    snapshot_print(s, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void assert_has(const char *text, const char *part, bool has)
{
    if ((strstr(text, part) != NULL) != has) {
        fail_msg("%s: %s\n%s", has ? "not there" : "there", part, text);
    }
}

static void settings_of_tls_are_printed(void **state)
{
    (void)state;
    struct snapshot *s = snapshot_of(WORDS("check", UP, "--ca", "$CERT", "--names-policy", "report",
                                           "--verify-names", "a", "--verify-names", "b"));
    char *text = printed(s);
    assert_has(text, "\nverify_names = a, b\n", true);
    assert_has(text, "\nresumption = true\n", true);
    assert_has(text, "\nocsp = prefer\n", true);
    assert_has(text, "\nnames_policy = report\n", true);
    assert_has(text, "\npins_policy", false); /* there are no pins */
    assert_has(text, "\nlisten_tickets", false);
    assert_has(text, "\nwarning: names_policy is report: what it finds is logged and let pass\n",
               true);
    free(text);
    snapshot_unref(&s);

    s = snapshot_of(WORDS("check", "--format", "json", DOWN, "--listen-cert", "$BOTH",
                          "--listen-cert", "$CERT", "--listen-key", "$BOTH", "--listen-key", "$KEY",
                          "--listen-sni-strict", "false"));
    text = printed(s);
    assert_has(text, "\"listen_sni_strict\":false,", true);
    assert_has(text, "\"listen_tickets\":true,", true);
    assert_has(text, "\"listen_ticket_rotation\":\"12h\",", true);
    assert_has(text, "\"listen_security_level\":2,", true);
    assert_has(text, "\"ocsp\"", false);
    free(text);
    snapshot_unref(&s);
}

static void an_unverified_upstream_is_told(void **state)
{
    (void)state;
    struct error err;
    struct snapshot *s =
        snapshot_of_text("services = ( { name = \"a\"; listen = \"1\"; connect = \"h:1\"; ca = "
                         "\"$CERT\"; insecure_skip_verify = true; } );",
                         &err);
    if (s == NULL) {
        fail_msg("%s", err.text);
        return;
    }
    char *shown = printed(s);
    assert_has(shown, "\ninsecure_skip_verify = true\n", true);
    assert_has(shown, "\nx509_strict", false);
    assert_has(shown, "\nnames_policy", false);
    assert_has(shown, " -> tls://h:1 NOT VERIFIED\n", true);
    assert_has(shown,
               "\nwarning: insecure_skip_verify is true: the upstream is not verified at all\n",
               true);
    free(shown);
    s->config.check_format = CHECK_JSON;
    shown = printed(s);
    assert_has(shown, "\"insecure_skip_verify\":true", true);
    assert_has(shown,
               "\"warnings\":[\"insecure_skip_verify is true: the upstream is not verified at "
               "all\"],",
               true);
    free(shown);
    snapshot_unref(&s);
}

/* From a file, what the certificates are wrong with is told with its line. */
static void places_of_a_file(void **state)
{
    (void)state;
    const struct {
        const char *setting, *path, *expected;
    } cases[] = {
        {"ca", "/nonexistent/ca.pem", "t.cfg:3: ca '/nonexistent/ca.pem': No such file"},
        {"ca_dir", "/nonexistent/dir", "t.cfg:3: ca_dir '/nonexistent/dir': No such file"},
        {"ca = \"/dev/null\"; ca_dir", "/x",
         "t.cfg:3: ca '/dev/null': this is a device, a regular file is needed"},
        {"cert", "$CERT", "t.cfg:3: cert '"},
        {"ca_dir = \"/nonexistent/dir\"; ca", "$CERT", "t.cfg:3: ca_dir '/nonexistent/dir': No "},
        {"key = \"/nonexistent/k.pem\";\ncert", "$CERT", "t.cfg:3: key '/nonexistent/k.pem': "},
        {"\ncert = \"/nonexistent/c.pem\"; key", "/x", "t.cfg:4: cert '/nonexistent/c.pem': "},
        {"crl", "/nonexistent/x.crl", "t.cfg:3: crl '/nonexistent/x.crl': No such file"},
        {"pins = \"sha256//x\";\nca", "$CERT", "t.cfg:3: pins 'sha256//x': "},
        {"\n\ntlsa", "3 1 1 00", "t.cfg:5: tlsa '3 1 1 00': "},
        {"groups", "X25519:nonsense", "t.cfg:3: groups 'X25519:nonsense': 'nonsense' is no "},
        {"ciphers", "ROT13", "t.cfg:3: ciphers 'ROT13': "},
        {"ciphersuites", "ROT13", "t.cfg:3: ciphersuites 'ROT13': "},
        {"sigalgs", "RSA+ROT13", "t.cfg:3: sigalgs 'RSA+ROT13': "},
        {"key_passphrase = \"file:/nonexistent/p\"; cert", "$BOTH", "t.cfg:3: key_passphrase"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        size_t length = 0;
        struct config c;
        struct error err;
        const char *path = strcmp(cases[i].path, "$CERT") == 0   ? cert_path
                           : strcmp(cases[i].path, "$BOTH") == 0 ? both_path
                                                                 : cases[i].path;
        assert_true(str_append(text, sizeof(text), &length,
                               "services = ( {\nname = \"x\"; listen = \"1\"; connect = \"a:1\";\n"
                               "%s = \"%s\"; } );",
                               cases[i].setting, path));
        error_init(&err);
        assert_true(config_set_up(&c, &err));
        if (!config_from_text(&c, "t.cfg", text, length, &err)) {
            fail_msg("%s", err.text);
        }
        assert_null(snapshot_create(&c, 0, &err));
        if (strncmp(err.text, cases[i].expected, strlen(cases[i].expected)) != 0) {
            fail_msg("%s\n instead of %s", err.text, cases[i].expected);
        }
        config_fini(&c);
    }
}

static void a_sentence_is_cut_at_the_size(void **state)
{
    (void)state;
    struct snapshot *s = snapshot_of(WORDS("-l", "8080", "-c", "tcp://host:80"));
    char sentence[12];
    service_describe(&s->services[0], &s->services[0].listeners[0], sentence, sizeof(sentence));
    assert_string_equal(sentence, "tcp://127.0");
    snapshot_unref(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_relay),
        cmocka_unit_test(workers_follow_the_cpus),
        cmocka_unit_test(each_upstream_must_bear_its_own_name),
        cmocka_unit_test(verify_names_are_apart_from_the_server_name),
        cmocka_unit_test(server_name_is_for_all),
        cmocka_unit_test(a_tls_listener),
        cmocka_unit_test(a_listener_opts_out),
        cmocka_unit_test(bad_files_are_named_and_the_config_stays),
        cmocka_unit_test(a_second_try_works),
        cmocka_unit_test(the_last_of_many_threads_frees),
        cmocka_unit_test(what_would_run),
        cmocka_unit_test(the_same_as_json),
        cmocka_unit_test(settings_of_tls_are_printed),
        cmocka_unit_test(an_unverified_upstream_is_told),
        cmocka_unit_test(places_of_a_file),
        cmocka_unit_test(a_sentence_is_cut_at_the_size),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
