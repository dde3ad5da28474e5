/* libFuzzer target: an endpoint as a user writes it. Whatever the text: no crash; a refusal has a
 * one-line reason; what is taken is written and read back as the same. The first byte picks the
 * role by its lowest bit ('L' listens, 'C' connects), the rest is the text. */
#include <esclusa/net.h>
#include <esclusa/str.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool same(const struct net_endpoint *a, const struct net_endpoint *b)
{
    return a->scheme == b->scheme && a->port == b->port && a->srv == b->srv &&
           str_equal(a->host, b->host) && str_equal(a->path, b->path) &&
           str_equal(a->fd_name, b->fd_name);
}

static void check_taken(const struct net_endpoint *e)
{
    char text[NET_TEXT_MAX];
    struct net_addr address;

    require(memchr(e->host, '\0', sizeof(e->host)) != NULL);
    require(memchr(e->path, '\0', sizeof(e->path)) != NULL);
    net_endpoint_format(e, text, sizeof(text));
    require(strlen(text) < sizeof(text) - 1); /* was not cut */
    require(memchr(e->fd_name, '\0', sizeof(e->fd_name)) != NULL);
    const int last = e->fd_name[0] != '\0' ? NET_LISTEN : NET_CONNECT;
    for (int role = e->srv ? NET_CONNECT : NET_LISTEN; role <= last; role++) {
        struct net_endpoint again;
        struct error err;
        error_init(&err);
        require(net_endpoint_parse(&again, text, (enum net_role)role, &err));
        require(same(&again, e));
    }

    if (e->scheme == NET_UNIX) {
        require(e->path[0] != '\0' && e->host[0] == '\0' && e->port == 0);
        net_addr_from_path(&address, e->path);
        net_addr_format(&address, text, sizeof(text));
        require(strncmp(text, "unix:", 5) == 0 && strcmp(text + 5, e->path) == 0);
    } else if (e->fd_name[0] != '\0') {
        require(e->path[0] == '\0' && e->host[0] == '\0' && e->port == 0);
    } else {
        require(e->path[0] == '\0' && e->host[0] != '\0' && (e->port != 0) != e->srv);
        require(net_endpoint_name(e)[0] != '\0');
        if (net_addr_from_literal(&address, e->host, e->port)) {
            require(net_addr_from_literal(NULL, e->host, e->port));
            net_addr_format(&address, text, sizeof(text));
            require(text[0] != '\0');
        }
    }
}

static void check_refused(const struct net_endpoint *e, const struct error *err)
{
    static const struct net_endpoint zero;

    require(err->set && err->text[0] != '\0');
    require(memchr(err->text, '\0', sizeof(err->text)) != NULL);
    for (const char *p = err->text; *p != '\0'; p++)
        require(*p >= 0x20 && *p < 0x7f);
    require(same(e, &zero));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_endpoint e;
    struct error err;

    if (size == 0)
        return 0;
    char *text = malloc(size); /* of that very size: a read past the end is seen */
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';

    error_init(&err);
    if (net_endpoint_parse(&e, text, (data[0] & 1) != 0 ? NET_CONNECT : NET_LISTEN, &err)) {
        require(!err.set);
        check_taken(&e);
    } else {
        check_refused(&e, &err);
    }
    free(text);
    return 0;
}
