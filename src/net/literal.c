/* An IP address with or without a port, as it is written. */
#include <esclusa/net.h>
#include <esclusa/str.h>

#include <string.h>

#define SHOWN_MAX 200

static bool reject(const char *text, struct error *err)
{
    char shown[SHOWN_MAX];
    str_escape(shown, sizeof(shown), text, strlen(text));
    return error_set(err,
                     "'%s': no IP address; give one with or without a port, as in 10.0.0.1, "
                     "10.0.0.1:53, 2001:db8::1 or [2001:db8::1]:53",
                     shown);
}

bool net_addr_parse(struct net_addr *a, const char *text, uint16_t port, struct error *err)
{
    char host[NET_HOST_MAX];
    uint64_t number = port;
    if (!str_copy(host, sizeof(host), text))
        return reject(text, err);
    char *given = NULL;
    char *from = host;
    if (host[0] == '[') {
        char *end = strchr(host, ']');
        if (end == NULL || (end[1] != ':' && end[1] != '\0'))
            return reject(text, err);
        given = end[1] == ':' ? end + 2 : NULL;
        *end = '\0';
        from = host + 1;
        if (strchr(from, ':') == NULL)
            return reject(text, err);
    } else if (strchr(host, ':') == strrchr(host, ':') && (given = strchr(host, ':')) != NULL) {
        *given++ = '\0';
    }
    if (given != NULL && !str_parse_u64(given, 1, UINT16_MAX, &number))
        return reject(text, err);
    return net_addr_from_literal(a, from, (uint16_t)number) || reject(text, err);
}
