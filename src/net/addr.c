#include <esclusa/net.h>
#include <esclusa/str.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LABEL_MAX       63  /* RFC 1035 section 2.3.4 */
#define HOST_NAME_LIMIT 253 /* 255 octets on the wire are 253 characters without the last dot */
#define SHOWN_MAX       200 /* of the given text, in an error */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_character(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

/* ---- literals ---- */

/* The interface name behind '%' (RFC 6874 section 2 leaves its form to the system). */
static bool is_zone(const char *zone)
{
    size_t length = strnlen(zone, IF_NAMESIZE);
    if (length == 0 || length == IF_NAMESIZE)
        return false;
    for (const char *p = zone; *p != '\0'; p++) {
        if (*p <= ' ' || *p >= 0x7f || strchr("%/[]\"\\", *p) != NULL)
            return false;
    }
    return true;
}

/* zone_r: what follows '%', or NULL. Looks at the text alone, not at this machine's interfaces. */
static bool parse_ipv6(const char *host, struct in6_addr *ip_r, const char **zone_r)
{
    char text[INET6_ADDRSTRLEN];
    const char *percent = strchr(host, '%');
    size_t length = percent != NULL ? (size_t)(percent - host) : strnlen(host, sizeof(text));

    if (length >= sizeof(text))
        return false;
    memcpy(text, host, length);
    text[length] = '\0';
    *zone_r = percent != NULL ? percent + 1 : NULL;
    return inet_pton(AF_INET6, text, ip_r) == 1 && (*zone_r == NULL || is_zone(*zone_r));
}

static uint32_t zone_index(const char *zone)
{
    uint64_t number = if_nametoindex(zone);
    if (number == 0 && !str_parse_u64(zone, 1, UINT32_MAX, &number))
        return 0;
    return (uint32_t)number;
}

bool net_addr_from_literal(struct net_addr *a, const char *host, uint16_t port)
{
    struct in_addr ip4;
    struct in6_addr ip6;
    const char *zone = NULL;
    uint32_t scope = 0;

    if (inet_pton(AF_INET, host, &ip4) == 1) {
        if (a == NULL)
            return true;
        memset(a, 0, sizeof(*a));
        a->length = sizeof(a->u.in);
        a->u.in.sin_family = AF_INET;
        a->u.in.sin_port = htons(port);
        a->u.in.sin_addr = ip4;
        return true;
    }
    if (!parse_ipv6(host, &ip6, &zone))
        return false;
    if (a == NULL)
        return true;
    if (zone != NULL) {
        scope = zone_index(zone);
        if (scope == 0)
            return false;
    }
    memset(a, 0, sizeof(*a));
    a->length = sizeof(a->u.in6);
    a->u.in6.sin6_family = AF_INET6;
    a->u.in6.sin6_port = htons(port);
    a->u.in6.sin6_addr = ip6;
    a->u.in6.sin6_scope_id = scope;
    return true;
}

/* ---- endpoints ---- */

struct input {
    const char *text; /* as it was given */
    enum net_role role;
    struct error *err;
};

static bool reject(const struct input *in, const char *format, ...) PRINTF_LIKE(2, 3);
static bool reject(const struct input *in, const char *format, ...)
{
    char shown[SHOWN_MAX];
    char reason[ERROR_TEXT_MAX];
    va_list args;

    va_start(args, format);
    if (vsnprintf(reason, sizeof(reason), format, args) < 0)
        str_copy(reason, sizeof(reason), format);
    va_end(args);
    size_t length = strlen(in->text);
    str_escape(shown, sizeof(shown), in->text, length);
    return error_set(in->err, "'%s%s': %s", shown, length >= sizeof(shown) ? "..." : "", reason);
}

static bool parse_port(const struct input *in, const char *text, uint16_t *port_r)
{
    uint64_t port = 0;

    if (*text == '\0')
        return reject(in, "no port: put :PORT (1 to 65535) behind the host");
    size_t digits = strspn(text, "0123456789");
    if (digits == 0)
        return reject(in, "the port is not a number: give 1 to 65535, digits only");
    if (text[digits] != '\0')
        return reject(in, "text behind the port: end the address with the number, no path");
    if (!str_parse_u64(text, 1, UINT16_MAX, &port))
        return reject(in, "the port is out of range: give 1 to 65535");
    *port_r = (uint16_t)port;
    return true;
}

/* inet_aton(3), and with it getaddrinfo(3), reads "127.1", "10" and "0x7f.1" as addresses. Nobody
 * means that; a name whose last label is a number is a mistyped address. */
static bool ends_in_number(const char *host)
{
    size_t end = strlen(host);
    if (end > 0 && host[end - 1] == '.')
        end--;
    size_t start = end;
    while (start > 0 && host[start - 1] != '.')
        start--;
    const char *label = host + start;
    size_t length = end - start;
    if (length >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X'))
        return strspn(label + 2, "0123456789abcdefABCDEF") >= length - 2;
    return length > 0 && strspn(label, "0123456789") >= length;
}

static bool check_name(const struct input *in, const char *host)
{
    size_t length = strlen(host);
    size_t label = 0;

    if (length > 0 && host[length - 1] == '.')
        length--; /* the root may be written: "example.com." */
    if (length > HOST_NAME_LIMIT)
        return reject(in, "the host name is too long: at most %d characters", HOST_NAME_LIMIT);
    for (size_t i = 0; i <= length; i++) {
        if (i == length || host[i] == '.') {
            if (label == 0)
                return reject(in, "the host name has an empty part: write it without a leading dot "
                                  "and without two dots in a row");
            if (label > LABEL_MAX)
                return reject(in,
                              "a part of the host name is too long: at most %d characters "
                              "between dots",
                              LABEL_MAX);
            label = 0;
        } else if (is_name_character(host[i])) {
            label++;
        } else {
            return reject(in, "a host name may hold letters, digits, '-', '_' and '.' only (an "
                              "international name goes in its xn-- form)");
        }
    }
    if (ends_in_number(host))
        return reject(in, "the host is no IPv4 address: give four numbers of 0 to 255 without "
                          "leading zeros, or a name that does not end in a number");
    return true;
}

static bool parse_bracketed(const struct input *in, const char *rest, struct net_endpoint *e)
{
    const char *end = strchr(rest, ']');
    struct in6_addr ip;
    const char *zone = NULL;

    if (end == NULL)
        return reject(in, "no ']' behind the IPv6 address: write [ADDRESS]:PORT");
    size_t length = (size_t)(end - rest) - 1;
    if (length == 0)
        return reject(in, "no address between the brackets: write [ADDRESS]:PORT, as in [::1]:80");
    if (length >= sizeof(e->host))
        return reject(in, "the host is too long for an IPv6 address");
    memcpy(e->host, rest + 1, length);
    e->host[length] = '\0';
    if (!parse_ipv6(e->host, &ip, &zone))
        return reject(in, "what is in brackets is no IPv6 address: brackets are for those alone, "
                          "as in [::1]:80 or [fe80::1%%eth0]:80");
    if (end[1] == '\0')
        return parse_port(in, end + 1, &e->port);
    if (end[1] != ':')
        return reject(in, "text behind ']': write [ADDRESS]:PORT");
    return parse_port(in, end + 2, &e->port);
}

static bool reject_empty_host(const struct input *in, const char *port)
{
    uint16_t number = 0;

    if (in->role == NET_CONNECT)
        return reject(in, "no host before the port: give HOST:PORT");
    if (!parse_port(in, port, &number))
        return false;
    return reject(in,
                  "no host: give 0.0.0.0:%u for every IPv4 address of this machine, [::]:%u for "
                  "every IPv6 address, or a port alone for 127.0.0.1",
                  (unsigned int)number, (unsigned int)number);
}

static bool parse_host_port(const struct input *in, const char *rest, struct net_endpoint *e)
{
    const char *colon = strchr(rest, ':');

    if (colon == NULL)
        return parse_port(in, "", &e->port);
    if (strchr(colon + 1, ':') != NULL)
        return reject(in, "more than one ':': an IPv6 address goes in brackets, as in [::1]:80, "
                          "and a scheme ends in ://");
    size_t length = (size_t)(colon - rest);
    if (length == 0 || (length == 1 && rest[0] == '*'))
        return reject_empty_host(in, colon + 1);
    if (length >= sizeof(e->host))
        return reject(in, "the host name is too long: at most %d characters", HOST_NAME_LIMIT);
    memcpy(e->host, rest, length);
    e->host[length] = '\0';
    return (net_addr_from_literal(NULL, e->host, 0) || check_name(in, e->host)) &&
           parse_port(in, colon + 1, &e->port);
}

/* "_SERVICE._PROTO.": the two labels that RFC 2782 puts before the domain; their length, 0: none.
 */
static size_t service_labels(const char *name)
{
    size_t length = 0;
    for (int i = 0; i < 2; i++) {
        size_t label = strcspn(name + length, ".");
        if (name[length] != '_' || label < 2 || name[length + label] != '.')
            return 0;
        length += label + 1;
    }
    return name[length] != '\0' ? length : 0;
}

static bool parse_srv(const struct input *in, const char *name, struct net_endpoint *e)
{
    size_t length = strlen(name);

    if (in->role == NET_LISTEN)
        return reject(in, "SRV records say where to connect, not where to listen");
    if (length >= sizeof(e->host))
        return reject(in, "the name is too long: at most %d characters", HOST_NAME_LIMIT);
    memcpy(e->host, name, length + 1);
    e->srv = true;
    if (strchr(name, ':') != NULL)
        return reject(in, "the SRV records give the port: leave it out");
    if (!check_name(in, name))
        return false;
    return service_labels(name) > 0 ||
           reject(in, "no name of SRV records: write srv:_SERVICE._tcp.DOMAIN, as in "
                      "srv:_imaps._tcp.example.com");
}

const char *net_endpoint_name(const struct net_endpoint *e)
{
    return e->host + (e->srv ? service_labels(e->host) : 0);
}

/* Nothing but digits: a port without a host. */
static bool parse_port_alone(const struct input *in, const char *rest, struct net_endpoint *e)
{
    uint16_t port = 0;

    if (!parse_port(in, rest, &port))
        return false;
    if (in->role == NET_CONNECT)
        return reject(in, "a port alone names no upstream: give HOST:%u", (unsigned int)port);
    if (rest != in->text)
        return reject(in,
                      "no host: a port alone means 127.0.0.1 only without a scheme; give "
                      "127.0.0.1:%u behind the scheme",
                      (unsigned int)port);
    e->scheme = NET_TCP;
    str_copy(e->host, sizeof(e->host), "127.0.0.1");
    e->port = port;
    return true;
}

static bool parse_unix(const struct input *in, const char *path, struct net_endpoint *e)
{
    /* unix:///abs has an empty authority and is unix:/abs; unix://name would make "name" a host. */
    if (path[0] == '/' && path[1] == '/') {
        if (path[2] != '/')
            return reject(in, "write unix:/absolute/path or unix:@name, without //");
        path += strspn(path, "/") - 1; /* "//x" would be read back as a host */
    }
    size_t length = strlen(path);
    if (length == 0)
        return reject(in, "no path: give unix:/absolute/path or unix:@name");
    if (path[0] != '/' && path[0] != '@')
        return reject(in, "the path must be absolute: give unix:/absolute/path, or unix:@name for "
                          "an abstract socket");
    if (length >= sizeof(e->path))
        return reject(in, "the path is too long: a unix socket takes at most %zu bytes",
                      sizeof(e->path) - 1);
    if (length == 1 || (path[0] == '/' && path[length - 1] == '/'))
        return reject(in, "%s",
                      path[0] == '@' ? "no name behind '@': give unix:@name"
                                     : "that is a directory: give the path of a socket in it");
    e->scheme = NET_UNIX;
    memcpy(e->path, path, length + 1);
    return true;
}

/* "systemd:NAME" or "tls+systemd:NAME": what is behind the colon; NULL: something else. */
static const char *systemd_name(const char *text, enum net_scheme *scheme_r)
{
    *scheme_r = strncasecmp(text, "tls+", 4) == 0 ? NET_TLS : NET_TCP;
    if (*scheme_r == NET_TLS)
        text += 4;
    return strncasecmp(text, "systemd:", 8) == 0 ? text + 8 : NULL;
}

static bool parse_systemd(const struct input *in, const char *name, struct net_endpoint *e)
{
    size_t length = strlen(name);
    if (length == 0)
        return reject(in, "no name: give systemd:NAME, NAME being the FileDescriptorName= of the "
                          "socket unit, or else the unit's, like systemd:esclusa.socket");
    if (length >= sizeof(e->fd_name))
        return reject(in, "the name is too long: at most %zu characters", sizeof(e->fd_name) - 1);
    for (const char *p = name; *p != '\0'; p++) {
        if (*p <= ' ' || *p >= 0x7f || *p == ':' || *p == '/')
            return reject(in, "a name behind systemd: holds printable ASCII without ':' and '/' "
                              "only, as FileDescriptorName= in systemd.socket(5)");
    }
    memcpy(e->fd_name, name, length + 1);
    return true;
}

/* RFC 3986 section 3.1: schemes are equal whatever the case. */
static bool parse_scheme(const struct input *in, size_t length, enum net_scheme *scheme_r)
{
    static const struct {
        const char *name;
        enum net_scheme scheme;
        bool later;
    } schemes[] = {{"tcp", NET_TCP, false},
                   {"tls", NET_TLS, false},
                   {"udp", NET_TCP, true},
                   {"dtls", NET_TLS, true}};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        const char *name = schemes[i].name;
        if (strlen(name) != length || strncasecmp(in->text, name, length) != 0)
            continue;
        if (schemes[i].later)
            return reject(in, "%s:// is not supported yet: give tcp://, tls:// or unix:", name);
        *scheme_r = schemes[i].scheme;
        return true;
    }
    return reject(in, "unknown scheme: give tcp://, tls:// or unix:");
}

static bool check_characters(const struct input *in, bool unix_path)
{
    for (const char *p = in->text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f)
            return reject(in, "it holds a control character: take it out");
        if (c == ' ' && !unix_path)
            return reject(in, "it holds a space: take it out");
    }
    return true;
}

static bool parse_endpoint(const struct input *in, struct net_endpoint *e)
{
    const char *rest = in->text;
    bool unix_path = strncasecmp(in->text, "unix:", 5) == 0;

    if (!check_characters(in, unix_path))
        return false;
    if (unix_path)
        return parse_unix(in, in->text + 5, e);

    const char *name = in->role == NET_LISTEN ? systemd_name(in->text, &e->scheme) : NULL;
    if (name != NULL)
        return parse_systemd(in, name, e);
    e->scheme = in->role == NET_LISTEN ? NET_TCP : NET_TLS;
    const char *mark = strstr(in->text, "://");
    if (mark != NULL) {
        if (!parse_scheme(in, (size_t)(mark - in->text), &e->scheme))
            return false;
        rest = mark + 3;
        if (*rest == '\0')
            return reject(in, "no address behind the scheme: give HOST:PORT");
    }
    if (strncasecmp(rest, "srv:", 4) == 0)
        return parse_srv(in, rest + 4, e);
    if (rest[0] == '[')
        return parse_bracketed(in, rest, e);
    if (rest[strspn(rest, "0123456789")] == '\0')
        return parse_port_alone(in, rest, e);
    return parse_host_port(in, rest, e);
}

bool net_endpoint_parse(struct net_endpoint *e, const char *text, enum net_role role,
                        struct error *err)
{
    const struct input in = {text, role, err};

    memset(e, 0, sizeof(*e));
    if (text[0] == '\0')
        return error_set(err, "the address is empty: give [SCHEME://]HOST:PORT or unix:/path");
    if (parse_endpoint(&in, e))
        return true;
    memset(e, 0, sizeof(*e)); /* nothing half read is left for a caller to use */
    return false;
}

void net_endpoint_format(const struct net_endpoint *e, char *dst, size_t size)
{
    size_t length = 0;
    bool brackets = strchr(e->host, ':') != NULL;

    if (size == 0)
        return;
    dst[0] = '\0';
    if (e->scheme == NET_UNIX)
        str_append(dst, size, &length, "unix:%s", e->path);
    else if (e->fd_name[0] != '\0')
        str_append(dst, size, &length, "%ssystemd:%s", e->scheme == NET_TLS ? "tls+" : "",
                   e->fd_name);
    else if (e->srv)
        str_append(dst, size, &length, "%s://srv:%s", e->scheme == NET_TLS ? "tls" : "tcp",
                   e->host);
    else
        str_append(dst, size, &length, "%s://%s%s%s:%u", e->scheme == NET_TLS ? "tls" : "tcp",
                   brackets ? "[" : "", e->host, brackets ? "]" : "", (unsigned int)e->port);
}

/* ---- socket addresses ---- */

void net_addr_from_path(struct net_addr *a, const char *path)
{
    memset(a, 0, sizeof(*a));
    a->u.un.sun_family = AF_UNIX;
    size_t length = strnlen(path, sizeof(a->u.un.sun_path) - 1);
    memcpy(a->u.un.sun_path, path, length);
    if (path[0] == '@')
        a->u.un.sun_path[0] = '\0'; /* unix(7): abstract; the length ends the name, no NUL does */
    else
        length++;
    a->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

static void format_unix(const struct net_addr *a, char *dst, size_t size)
{
    char name[sizeof(a->u.un.sun_path) + 1] = "";
    size_t offset = offsetof(struct sockaddr_un, sun_path);
    size_t length = 0;
    size_t used = a->length > offset ? a->length - offset : 0;

    if (used > sizeof(a->u.un.sun_path))
        used = sizeof(a->u.un.sun_path);
    memcpy(name, a->u.un.sun_path, used);
    if (used > 0 && name[0] == '\0') {
        /* The zero bytes of an abstract name are shown as '@', as in /proc/net/unix. */
        for (size_t i = 0; i < used; i++) {
            if (name[i] == '\0')
                name[i] = '@';
        }
    }
    str_append(dst, size, &length, "unix:%s", name);
}

static void format_ipv6(const struct sockaddr_in6 *in6, char *dst, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "";
    char zone[IF_NAMESIZE + 12] = "";
    size_t length = 0;

    inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip));
    if (in6->sin6_scope_id != 0) {
        zone[0] = '%';
        if (if_indextoname(in6->sin6_scope_id, zone + 1) == NULL)
            (void)snprintf(zone + 1, sizeof(zone) - 1, "%" PRIu32, in6->sin6_scope_id);
    }
    str_append(dst, size, &length, "[%s%s]:%u", ip, zone, (unsigned int)ntohs(in6->sin6_port));
}

void net_addr_format(const struct net_addr *a, char *dst, size_t size)
{
    char ip[INET_ADDRSTRLEN] = "";
    size_t length = 0;

    if (size == 0)
        return;
    dst[0] = '\0';
    switch (a->u.sa.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &a->u.in.sin_addr, ip, sizeof(ip));
        str_append(dst, size, &length, "%s:%u", ip, (unsigned int)ntohs(a->u.in.sin_port));
        break;
    case AF_INET6:
        format_ipv6(&a->u.in6, dst, size);
        break;
    case AF_UNIX:
        format_unix(a, dst, size);
        break;
    default:
        str_copy(dst, size, "unknown");
        break;
    }
}
