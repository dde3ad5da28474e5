/* The one list of options. What a row says is what the command line and the file take, what --help
 * and docs/configuration.md show, what `esclusa check` prints, what a reload watches, and which
 * change of it makes a service verify less. */
#include <esclusa/config.h>

#include "config_internal.h"

#define DAY_MS ((int64_t)24 * 60 * 60 * 1000)

/* Longer is a mistake of units rather than a wish, and it keeps sums of times far from overflow. */
#define TIMEOUT_MAX_MS (365 * DAY_MS)

#define WORKERS_MAX 256
#define WARM_MOST   1000

static const struct option_choice tls_version_choices[] = {
    {"1.2", TLS_1_2}, {"1.3", TLS_1_3}, {NULL, 0}};

static const struct option_choice half_close_choices[] = {
    {"on", HALF_CLOSE_ON}, {"tls13", HALF_CLOSE_TLS13}, {"off", HALF_CLOSE_OFF}, {NULL, 0}};

static const struct option_choice over_choices[] = {
    {"wait", OVER_LIMIT_WAIT}, {"reset", OVER_LIMIT_RESET}, {NULL, 0}};

static const struct option_choice log_sessions_choices[] = {{"all", LOG_SESSIONS_ALL},
                                                            {"failed", LOG_SESSIONS_FAILED},
                                                            {"none", LOG_SESSIONS_NONE},
                                                            {NULL, 0}};

static const struct option_choice cut_choices[] = {
    {"reset", CUT_RESET}, {"fin", CUT_FIN}, {NULL, 0}};

static const struct option_choice policy_choices[] = {
    {"report", TLS_POLICY_REPORT}, {"enforce", TLS_POLICY_ENFORCE}, {NULL, 0}};

static const struct option_choice strict_choices[] = {
    {"off", TLS_STRICT_OFF}, {"report", TLS_STRICT_REPORT}, {"on", TLS_STRICT_ON}, {NULL, 0}};

static const struct option_choice ocsp_choices[] = {
    {"off", TLS_OCSP_OFF}, {"prefer", TLS_OCSP_PREFER}, {"require", TLS_OCSP_REQUIRE}, {NULL, 0}};

static const struct option_choice client_choices[] = {{"none", TLS_CLIENT_NONE},
                                                      {"optional", TLS_CLIENT_OPTIONAL},
                                                      {"required", TLS_CLIENT_REQUIRED},
                                                      {NULL, 0}};

static const struct option_choice revoked_choices[] = {
    {"log", REVOKED_LOG}, {"close", REVOKED_CLOSE}, {NULL, 0}};

static const struct option_choice sandbox_choices[] = {{"off", SANDBOX_WORD_OFF},
                                                       {"on", SANDBOX_WORD_ON},
                                                       {"require", SANDBOX_WORD_REQUIRE},
                                                       {NULL, 0}};

static const struct option_choice log_level_choices[] = {{"error", LOG_LEVEL_ERROR},
                                                         {"warn", LOG_LEVEL_WARN},
                                                         {"info", LOG_LEVEL_INFO},
                                                         {"debug", LOG_LEVEL_DEBUG},
                                                         {NULL, 0}};

static const struct option_choice log_format_choices[] = {
    {"text", LOG_FORMAT_TEXT}, {"json", LOG_FORMAT_JSON}, {NULL, 0}};

static const struct option_choice dns_choices[] = {
    {"cares", DNS_WORD_CARES}, {"system", DNS_WORD_SYSTEM}, {NULL, 0}};

#define SERVICE(member) .scope = OPTION_SERVICE, .offset = offsetof(struct service_config, member)
#define GLOBAL(member)  .scope = OPTION_GLOBAL, .offset = offsetof(struct config, member)

/* What rows of one type have in common: the name is that of the member. */
#define TEXT(member, who) .name = #member, .type = OPTION_TEXT, SERVICE(member), .use = (who)
#define LIST(member, who) .name = #member, .type = OPTION_TEXT_LIST, SERVICE(member), .use = (who)
#define CHOICE(member, who, words)                                                                 \
    .name = #member, .type = OPTION_CHOICE, SERVICE(member), .use = (who), .choices = (words)
#define TIME(base, member, least)                                                                  \
    .name = #member, .type = OPTION_DURATION, base(member), .argument = "DUR", .min = (least),     \
    .max = TIMEOUT_MAX_MS
#define FLAG(base, member)                                                                         \
    .name = #member, .type = OPTION_FLAG, base(member), .argument = "true|false"
#define COUNT(base, member)                                                                        \
    .name = #member, .type = OPTION_NUMBER, base(member), .argument = "N", .default_text = "0",    \
    .min = 0, .max = 1000000
#define LEVEL(member, who)                                                                         \
    .name = #member, .type = OPTION_NUMBER, SERVICE(member), .use = (who), .argument = "N",        \
    .default_text = "2", .min = 0, .max = 5, .weaker = WEAKER_IF_LESS

#define UP   USE_TLS_UPSTREAM
#define DOWN USE_TLS_LISTENER

const struct option_row option_table[] = {
    {.heading = "Addresses",
     .name = "listen",
     .letter = 'l',
     .type = OPTION_TEXT_LIST,
     SERVICE(listen),
     .own = true,
     .written = true,
     .argument = "ADDR",
     .default_note = "required",
     .help = "where consumers connect: [tcp://|tls://]HOST:PORT, unix:/path or unix:@name; a bare "
             "PORT is on 127.0.0.1; [tls+]systemd:NAME takes sockets of that name from systemd; "
             "repeatable"},
    {.name = "connect",
     .letter = 'c',
     .type = OPTION_TEXT_LIST,
     SERVICE(connect),
     .own = true,
     .argument = "ADDR",
     .default_note = "required",
     .help = "the upstream: [tls://|tcp://]HOST:PORT, unix:/path or unix:@name; a bare HOST:PORT "
             "is tls; srv:_SERVICE._tcp.DOMAIN takes hosts and ports from SRV records; repeatable: "
             "candidates in order"},

    {.heading = "Verifying the upstream",
     .name = "ca",
     .type = OPTION_TEXT,
     SERVICE(ca),
     .use = UP,
     .weaker = WEAKER_IF_GONE,
     .path = true,
     .argument = "FILE",
     .default_note = "the system store",
     .help = "trust anchors for the upstream's certificate, PEM"},
    {.name = "ca_dir",
     .type = OPTION_TEXT,
     SERVICE(ca_dir),
     .use = UP,
     .weaker = WEAKER_IF_GONE,
     .path = true,
     .argument = "DIR",
     .default_note = "the system store",
     .help = "directory of trust anchors for the upstream's certificate, PEM"},
    {.name = "server_name",
     .type = OPTION_TEXT,
     SERVICE(server_name),
     .use = UP,
     .argument = "NAME|IP",
     .default_note = "the host of --connect",
     .help = "the SNI sent (none for an IP), and the name the upstream's certificate must bear "
             "unless --verify-names gives others"},
    {.name = "verify_names",
     .type = OPTION_TEXT_LIST,
     SERVICE(verify_names),
     .use = UP,
     .argument = "NAME|IP|URI",
     .default_note = "the --server-name",
     .help = "names of which the upstream's certificate must bear one, whatever SNI is sent; a "
             "URI is a SPIFFE ID or the like; repeatable"},
    {CHOICE(names_policy, UP, policy_choices), .weaker = WEAKER_IF_LESS,
     .argument = "report|enforce", .default_text = "enforce",
     .help = "refuse an upstream whose certificate bears none of the names, or only report it"},
    {CHOICE(x509_strict, UP, strict_choices), .weaker = WEAKER_IF_LESS, .argument = "off|report|on",
     .default_text = "report",
     .help = "hold the upstream's chain to the letter of RFC 5280; report: log once a certificate "
             "what that would refuse"},
    {LIST(pins, UP), .weaker = WEAKER_IF_GONE, .argument = "PIN", .default_note = "none",
     .help = "sha256//BASE64 of a public key that the upstream's verified chain must hold, at any "
             "place; repeatable: one is enough"},
    {CHOICE(pins_policy, UP, policy_choices), .weaker = WEAKER_IF_LESS,
     .argument = "report|enforce", .default_text = "enforce",
     .help = "refuse an upstream without a pinned key, or only report it"},
    {TEXT(crl, UP), .weaker = WEAKER_IF_GONE, .path = true, .argument = "FILE",
     .default_note = "none",
     .help = "revocation lists for the upstream's whole chain, PEM or DER; one that has expired "
             "refuses"},
    {TEXT(crl_dir, UP), .weaker = WEAKER_IF_GONE, .path = true, .argument = "DIR",
     .default_note = "none",
     .help = "directory of revocation lists for the upstream's whole chain"},
    {CHOICE(ocsp, UP, ocsp_choices), .weaker = WEAKER_IF_LESS, .argument = "off|prefer|require",
     .default_text = "prefer",
     .help = "stapled OCSP response of the upstream: ignored, checked if there is one (and "
             "required by a must-staple certificate), or required"},
    {CHOICE(revocation_policy, UP, policy_choices), .weaker = WEAKER_IF_LESS,
     .argument = "report|enforce", .default_text = "enforce",
     .help = "refuse what a revocation list or an OCSP response refuses, or only report it"},
    {LIST(tlsa, UP), .weaker = WEAKER_IF_GONE, .argument = "TLSA", .default_note = "none",
     .help = "DANE record that the upstream's chain must fit: \"USAGE SELECTOR TYPE HEX\", like "
             "\"3 1 1 9f86...\"; repeatable: one is enough"},
    {FLAG(SERVICE, insecure_skip_verify), .use = UP, .weaker = WEAKER_IF_MORE, .own = true,
     .file_only = true, .default_text = "false",
     .help = "break-glass: do not verify the upstream at all; a warning at every start and reload"},
    {CHOICE(on_revoked, UP, revoked_choices), .weaker = WEAKER_IF_LESS, .argument = "log|close",
     .default_text = "log",
     .help = "live sessions whose upstream a reload's anchors, revocation lists, pins or names "
             "would refuse: log or close them"},

    {.heading = "Towards the upstream",
     TEXT(cert, UP),
     .path = true,
     .argument = "FILE|URI",
     .default_note = "none",
     .help = "client certificate chain shown to the upstream: PEM, leaf first, PKCS#12, or a URI "
             "of OpenSSL's store"},
    {.name = "key",
     .type = OPTION_TEXT,
     SERVICE(key),
     .use = UP,
     .path = true,
     .argument = "FILE|URI",
     .default_note = "in the file of --cert",
     .help = "private key of the client certificate: PEM, or a URI like pkcs11:..."},
    {TEXT(key_passphrase, UP), .argument = "SOURCE", .default_note = "none",
     .help = "where the passphrase of --key is: file:PATH (its first line) or env:NAME"},
    {FLAG(SERVICE, resumption), .use = UP, .default_text = "true",
     .help = "resume TLS sessions with the upstream"},
    {TIME(SERVICE, resumption_age, 1000), .use = UP, .default_text = "1h",
     .help = "after this a session is verified in full again instead of resumed"},
    {LIST(alpn, UP), .argument = "PROTOCOL", .default_note = "none",
     .help = "application protocols offered to the upstream, in order (RFC 7301); repeatable"},
    {TEXT(groups, UP), .argument = "LIST", .default_note = "OpenSSL's",
     .help = "key exchange groups for the upstream, like X25519MLKEM768:X25519:P-256"},
    {TEXT(ciphers, UP), .argument = "LIST", .default_note = "OpenSSL's",
     .help = "TLS 1.2 ciphers for the upstream"},
    {TEXT(ciphersuites, UP), .argument = "LIST", .default_note = "OpenSSL's, AES-128 first",
     .help = "TLS 1.3 ciphersuites for the upstream"},
    {TEXT(sigalgs, UP), .argument = "LIST", .default_note = "OpenSSL's",
     .help = "signature algorithms taken from the upstream, like ECDSA+SHA256:RSA-PSS+SHA256"},
    {LEVEL(security_level, UP),
     .help = "OpenSSL's security level for the upstream: 2 wants 112 bits (RSA 2048, EC 224)"},
    {.name = "warm_min",
     .type = OPTION_NUMBER,
     SERVICE(warm_min),
     .argument = "N",
     .default_text = "0",
     .min = 0,
     .max = WARM_MOST,
     .help = "connections to the first upstream kept ready, verified, so that a consumer need not "
             "wait for one; 0: none"},
    {.name = "warm_max",
     .type = OPTION_NUMBER,
     SERVICE(warm_max),
     .argument = "N",
     .default_note = "the --warm-min",
     .min = 1,
     .max = WARM_MOST,
     .help = "at most so many, when many consumers come"},
    {TIME(SERVICE, warm_max_idle, 100), .default_text = "30s",
     .help = "one that waited this long is closed and made anew; below the upstream's own idle "
             "timeout"},

    {.heading = "Listeners: certificates",
     .name = "listen_cert",
     .type = OPTION_TEXT_LIST,
     SERVICE(listen_cert),
     .use = DOWN,
     .path = true,
     .argument = "FILE|URI",
     .default_note = "required for tls:// listeners",
     .help = "certificate chain of the tls:// listeners: PEM, leaf first, PKCS#12, or a URI; "
             "repeatable: chosen by SNI and kind of key"},
    {.name = "listen_key",
     .type = OPTION_TEXT_LIST,
     SERVICE(listen_key),
     .use = DOWN,
     .path = true,
     .argument = "FILE|URI",
     .default_note = "in the file of --listen-cert",
     .help = "private key of the tls:// listeners: PEM, or a URI; one for each --listen-cert, in "
             "their order"},
    {TEXT(listen_key_passphrase, DOWN), .argument = "SOURCE", .default_note = "none",
     .help = "where the passphrase of --listen-key is: file:PATH (its first line) or env:NAME"},
    {FLAG(SERVICE, listen_sni_strict), .use = DOWN, .weaker = WEAKER_IF_LESS,
     .default_text = "false",
     .help = "refuse consumers who ask for a name that no certificate bears, or for none"},
    {LIST(listen_ocsp, DOWN), .path = true, .argument = "FILE", .default_note = "none",
     .help = "OCSP responses to staple, DER; each goes with the certificate it is for; repeatable"},

    {.heading = "Listeners: consumers' certificates",
     TEXT(listen_ca, DOWN),
     .weaker = WEAKER_IF_GONE,
     .path = true,
     .argument = "FILE",
     .default_note = "none",
     .help = "require consumers of tls:// listeners to show a certificate from this CA, PEM"},
    {TEXT(listen_ca_dir, DOWN), .weaker = WEAKER_IF_GONE, .path = true, .argument = "DIR",
     .default_note = "none", .help = "the same, from a directory"},
    {CHOICE(listen_client, DOWN, client_choices), .weaker = WEAKER_IF_LESS,
     .argument = "none|optional|required", .default_note = "required with --listen-ca, else none",
     .help = "whether consumers must show a certificate; optional: one that is shown must be good"},
    {LIST(listen_allow_cn, DOWN), .weaker = WEAKER_IF_GONE, .argument = "GLOB",
     .default_note = "none",
     .help = "verified consumers that may connect, by common name, * for any text; of all "
             "listen_allow rules one is enough; repeatable"},
    {LIST(listen_allow_ou, DOWN), .weaker = WEAKER_IF_GONE, .argument = "GLOB",
     .default_note = "none", .help = "the same by organizational unit"},
    {LIST(listen_allow_dns, DOWN), .weaker = WEAKER_IF_GONE, .argument = "GLOB",
     .default_note = "none", .help = "the same by DNS name"},
    {LIST(listen_allow_uri, DOWN), .weaker = WEAKER_IF_GONE, .argument = "GLOB",
     .default_note = "none", .help = "the same by URI, like spiffe://example.org/ns/*"},
    {LIST(listen_allow_pin, DOWN), .weaker = WEAKER_IF_GONE, .argument = "PIN",
     .default_note = "none", .help = "the same by public key, sha256//BASE64"},
    {TEXT(listen_crl, DOWN), .weaker = WEAKER_IF_GONE, .path = true, .argument = "FILE",
     .default_note = "none",
     .help = "revocation lists for consumers' chains, PEM or DER; one that has expired refuses"},
    {TEXT(listen_crl_dir, DOWN), .weaker = WEAKER_IF_GONE, .path = true, .argument = "DIR",
     .default_note = "none", .help = "directory of revocation lists for consumers' chains"},
    {.heading = "Listeners: TLS",
     FLAG(SERVICE, listen_tickets),
     .use = DOWN,
     .default_text = "true",
     .help = "let consumers resume TLS sessions by tickets"},
    {TEXT(listen_ticket_keys, DOWN), .path = true, .argument = "FILE",
     .default_note = "made at the start",
     .help = "keys of the tickets, for gateways that share them: 80 bytes each, the first seals"},
    {TIME(SERVICE, listen_ticket_rotation, 1000), .use = DOWN, .default_text = "12h",
     .help = "how often a new ticket key is made; the one before is still taken"},
    {LIST(listen_alpn, DOWN), .argument = "PROTOCOL", .default_note = "none",
     .help = "application protocols taken from consumers, in order of preference; repeatable"},
    {TEXT(listen_groups, DOWN), .argument = "LIST", .default_note = "OpenSSL's",
     .help = "key exchange groups for consumers"},
    {TEXT(listen_ciphers, DOWN), .argument = "LIST", .default_note = "OpenSSL's",
     .help = "TLS 1.2 ciphers for consumers"},
    {TEXT(listen_ciphersuites, DOWN), .argument = "LIST", .default_note = "OpenSSL's",
     .help = "TLS 1.3 ciphersuites for consumers"},
    {TEXT(listen_sigalgs, DOWN), .argument = "LIST", .default_note = "OpenSSL's",
     .help = "signature algorithms used with consumers"},
    {LEVEL(listen_security_level, DOWN), .help = "OpenSSL's security level for consumers"},
    {CHOICE(listen_tls_min, DOWN, tls_version_choices), .weaker = WEAKER_IF_LESS,
     .argument = "1.2|1.3", .default_note = "the --tls-min",
     .help = "lowest TLS version for consumers"},
    {CHOICE(listen_tls_max, DOWN, tls_version_choices), .argument = "1.2|1.3",
     .default_note = "the --tls-max", .help = "highest TLS version for consumers"},
    {.heading = "TLS versions on both sides",
     CHOICE(tls_min, USE_ANY_TLS, tls_version_choices),
     .weaker = WEAKER_IF_LESS,
     .argument = "1.2|1.3",
     .default_text = "1.2",
     .help = "lowest TLS version, on both sides"},
    {CHOICE(tls_max, USE_ANY_TLS, tls_version_choices), .argument = "1.2|1.3",
     .default_note = "the newest", .help = "highest TLS version, on both sides"},

    {.heading = "Connections",
     .name = "backlog",
     .type = OPTION_NUMBER,
     SERVICE(backlog),
     .argument = "N",
     .default_text = "4096",
     .min = 1,
     .max = 65535,
     .help = "pending connections the kernel queues; it caps them at net.core.somaxconn"},
    {.name = "workers",
     .type = OPTION_NUMBER,
     GLOBAL(workers),
     .restart = true,
     .argument = "N",
     .default_note = "the CPUs this process may use",
     .min = 1,
     .max = WORKERS_MAX,
     .help = "event loops; affinity and cgroup CPU quota count for the default"},
    {.name = "max_handshakes",
     .type = OPTION_NUMBER,
     GLOBAL(max_handshakes),
     .use = DOWN,
     .argument = "N",
     .default_text = "1024",
     .min = 1,
     .max = 1000000,
     .help = "TLS handshakes of consumers in progress; at the cap new ones wait in the kernel's "
             "queue"},
    {COUNT(GLOBAL, max_connections),
     .help = "consumers at once, of all services; 0: as many as there are descriptors for"},
    {COUNT(SERVICE, max_service_connections),
     .help = "consumers of a service at once; 0: any number"},
    {COUNT(SERVICE, max_consumer_connections),
     .help = "connections at once from one address (IPv6: from one /64); more are reset; 0: any "
             "number"},
    {COUNT(SERVICE, max_service_handshakes), .use = DOWN,
     .help = "the service's part of --max-handshakes, so that a flood at one leaves places to the "
             "others; 0: all of them"},
    {COUNT(SERVICE, accept_rate),
     .help = "consumers a second, of which a second's worth may come at once; 0: any number"},
    {CHOICE(over_limit, USE_ALWAYS, over_choices), .argument = "wait|reset", .default_text = "wait",
     .help = "whether consumers over --max-connections, --max-service-connections or "
             "--accept-rate wait in the kernel's queue or are reset"},
    {TIME(SERVICE, connect_timeout, 1), .default_text = "10s",
     .help = "for resolving the name of an upstream and connecting to it, each candidate"},
    {TIME(SERVICE, handshake_timeout, 1), .default_text = "10s",
     .help = "for a TLS handshake, each side"},
    {TIME(SERVICE, idle_timeout, 1), .default_text = "1h",
     .help = "a session in which no byte moves either way is closed after this"},
    {TIME(SERVICE, half_closed_timeout, 1), .default_text = "5m",
     .help = "the same once one direction has ended; bytes the other way start it anew"},
    {TIME(SERVICE, max_lifetime, 0), .default_text = "0",
     .help =
         "a session that relays for so long is ended, up to a tenth earlier so that not all end "
         "at once: cleanly when it rests, else cut half a minute later; 0: never"},
    {LIST(allow_from, USE_ALWAYS), .argument = "CIDR", .default_note = "everyone",
     .help = "networks whose consumers may connect, like 10.0.0.0/8; unix: consumers always may; "
             "repeatable"},
    {LIST(deny_from, USE_ALWAYS), .argument = "CIDR", .default_note = "none",
     .help = "networks whose consumers may not, even if --allow-from has them; repeatable"},
    {LIST(allow_uid, USE_ALWAYS), .argument = "USER", .default_note = "everyone",
     .help = "users, by name or number, whose processes on this machine may connect, over unix: or "
             "loopback; repeatable"},
    {LIST(allow_gid, USE_ALWAYS), .argument = "GROUP", .default_note = "everyone",
     .help = "groups whose members may connect, over unix:; of allow_uid and allow_gid one is "
             "enough; repeatable"},
    {TIME(SERVICE, tcp_user_timeout, 0), .default_text = "0",
     .help = "how long what was sent to the upstream may stay unacknowledged before the connection "
             "is given up, tcp(7); 0: as long as the kernel retransmits, some 15 minutes"},
    {TIME(SERVICE, listen_tcp_user_timeout, 0), .default_text = "0",
     .help = "the same towards consumers"},
    {CHOICE(half_close, USE_ALWAYS, half_close_choices), .argument = "on|tls13|off",
     .default_text = "on",
     .help = "pass a consumer's end of stream on to the upstream while answers still flow: "
             "always (on), but not over TLS 1.2 (tls13), or never (off)"},
    {CHOICE(missing_close_notify, USE_ALWAYS, cut_choices), .argument = "reset|fin",
     .default_text = "reset",
     .help = "what one side sees when the other's TLS stream was cut without close_notify: a "
             "reset, or a clean end (fin)"},

    {.heading = "Names",
     .name = "dns",
     .type = OPTION_CHOICE,
     GLOBAL(dns),
     .argument = "cares|system",
     .default_text = "cares",
     .choices = dns_choices,
     .help = "who looks up names: the hosts file and DNS, by c-ares; or the C library and whatever "
             "nsswitch.conf names"},
    {.name = "dns_servers",
     .type = OPTION_TEXT_LIST,
     GLOBAL(dns_servers),
     .argument = "IP[:PORT]",
     .default_note = "those of resolv.conf",
     .help = "DNS servers to ask, in order; an IPv6 address with a port goes in brackets; "
             "repeatable"},
    {.name = "dns_timeout",
     .type = OPTION_DURATION,
     GLOBAL(dns_timeout),
     .argument = "DUR",
     .default_text = "2s",
     .min = 50,
     .max = 60000,
     .help = "for the answer of a DNS server before it is asked again, or the next one"},
    {.name = "dns_tries",
     .type = OPTION_NUMBER,
     GLOBAL(dns_tries),
     .argument = "N",
     .default_text = "3",
     .min = 1,
     .max = 10,
     .help = "rounds in which every DNS server is asked"},
    {TIME(GLOBAL, dns_stale_max, 0), .default_text = "1h",
     .help = "how long the last good addresses of a name are used while it cannot be looked up, or "
             "has none; 0: not at all"},

    {.heading = "Reload",
     FLAG(GLOBAL, watch),
     .default_text = "true",
     .help = "reload by itself when a file that the configuration was made from changes"},
    {TIME(GLOBAL, watch_interval, 100), .default_text = "2s",
     .help = "how often the files are looked at"},
    {FLAG(GLOBAL, allow_weaker), .default_text = "false",
     .help = "let a reload lower what a service verifies"},

    {.heading = "Stop",
     TIME(GLOBAL, drain_delay, 0),
     .default_text = "0",
     .help = "after SIGTERM or SIGINT go on accepting for so long, not ready any more, so that "
             "balancers stop sending first"},
    {TIME(GLOBAL, drain_timeout, 0), .default_text = "5s",
     .help = "how long live sessions may go on then, no new ones accepted"},
    {TIME(GLOBAL, upgrade_timeout, 1000), .default_text = "30s",
     .help = "how long the process that SIGUSR2 starts may take until it serves"},
    {TIME(GLOBAL, upgrade_drain_timeout, 0), .default_text = "1h",
     .help = "how long live sessions of the process that was replaced may go on"},

    {.heading = "Confinement",
     .name = "user",
     .type = OPTION_TEXT,
     GLOBAL(user),
     .restart = true,
     .argument = "NAME|UID",
     .default_note = "as started",
     .help = "become this user once all listeners are open and all files are read"},
    {.name = "group",
     .type = OPTION_TEXT,
     GLOBAL(group),
     .restart = true,
     .argument = "NAME|GID",
     .default_note = "the user's",
     .help = "and this group"},
    {.name = "keep_bind",
     .type = OPTION_FLAG,
     GLOBAL(keep_bind),
     .restart = true,
     .argument = "true|false",
     .default_text = "false",
     .help = "keep CAP_NET_BIND_SERVICE, so that a reload can add listeners on ports below 1024"},
    {.name = "sandbox",
     .type = OPTION_CHOICE,
     GLOBAL(sandbox),
     .restart = true,
     .argument = "on|off|require",
     .default_text = "on",
     .choices = sandbox_choices,
     .help = "give up what serving does not need: capabilities, system calls, paths; with what the "
             "kernel has (on), or not at all without all of it (require)"},
    {.name = "sandbox_read",
     .type = OPTION_TEXT_LIST,
     GLOBAL(sandbox_read),
     .restart = true,
     .argument = "PATH",
     .default_note = "none",
     .help = "a directory or file that may be read in addition to those that are named elsewhere: "
             "for PKCS#11 and name service modules; repeatable"},
    {.name = "sandbox_write",
     .type = OPTION_TEXT_LIST,
     GLOBAL(sandbox_write),
     .restart = true,
     .argument = "PATH",
     .default_note = "none",
     .help = "the same, to read and write: a token in software; repeatable"},
    {.name = "core_dumps",
     .type = OPTION_FLAG,
     GLOBAL(core_dumps),
     .restart = true,
     .argument = "true|false",
     .default_text = "false",
     .help = "let the process be dumped and debugged, which shows its keys"},

    {.heading = "Admin",
     .name = "admin",
     .type = OPTION_TEXT,
     GLOBAL(admin),
     .restart = true,
     .written = true,
     .argument = "ADDR",
     .default_note = "off",
     .help = "answer probes, metrics and questions by HTTP there: HOST:PORT, unix:/path or "
             "unix:@name; a bare PORT is on 127.0.0.1"},
    {FLAG(GLOBAL, admin_allow_remote), .restart = true, .default_text = "false",
     .help = "let --admin be an address that is not loopback: whoever reaches it may read all "
             "and drain"},
    {FLAG(SERVICE, required), .default_text = "true",
     .help = "the gateway is not ready while this service has no usable upstream"},

    {.heading = "Log",
     .name = "log_level",
     .type = OPTION_CHOICE,
     GLOBAL(log_level),
     .restart = true,
     .argument = "error|warn|info|debug",
     .default_text = "info",
     .choices = log_level_choices,
     .help = "least severe lines to log"},
    {.name = "log_format",
     .type = OPTION_CHOICE,
     GLOBAL(log_format),
     .restart = true,
     .argument = "text|json",
     .default_text = "text",
     .choices = log_format_choices,
     .help = "form of the log lines"},
    {.name = "log_to",
     .type = OPTION_TEXT,
     GLOBAL(log_to),
     .restart = true,
     .written = true,
     .argument = "PLACE",
     .default_note = "stderr",
     .help = "stderr, file:/PATH (opened anew on SIGUSR1), syslog or syslog:/PATH of its socket"},
    {.name = "log_rate",
     .type = OPTION_NUMBER,
     GLOBAL(log_rate),
     .argument = "N",
     .default_text = "100",
     .min = 0,
     .max = 1000000,
     .help = "lines a second about sessions that failed, of each reason and service; the next one "
             "says how many were left out; 0: all"},
    {CHOICE(log_sessions, USE_ALWAYS, log_sessions_choices), .argument = "all|failed|none",
     .default_text = "all", .help = "which sessions are logged when they end"},
};

#define ROWS (sizeof(option_table) / sizeof(option_table[0]))

_Static_assert(ROWS <= OPTION_ROWS_MAX, "raise OPTION_ROWS_MAX");

const size_t option_count = ROWS;
