/* The PROXY header towards the upstream. */
#include "hello.h"

#include "session.h"

#include <esclusa/str.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* ---- what is said ---- */

/* Unique over restarts too, as the time of the connection is in it. */
static size_t own_id(const struct session *s, char *dst, size_t size)
{
    return (size_t)snprintf(dst, size, "%llx-%llx", (unsigned long long)s->began_wall_us,
                            (unsigned long long)s->id);
}

void hello_id(const struct session *s, char dst[HELLO_ID_MAX])
{
    const struct proxied *p = s->proxied;
    if (p != NULL && p->unique_id_length > 0)
        str_escape(dst, HELLO_ID_MAX, (const char *)p->unique_id, p->unique_id_length);
    else
        (void)own_id(s, dst, HELLO_ID_MAX);
}

/* Where the consumer connected to. False: it is not known. */
static bool destination(const struct session *s, struct net_addr *a)
{
    if (s->proxied != NULL && s->proxied->destination.length > 0) {
        *a = s->proxied->destination;
        return true;
    }
    return sock_local(s->transport[RELAY_DOWN]->fd, a);
}

static void tell_tls(struct proxy_words *w, struct proxy_tls *t, const struct tls_told *told,
                     unsigned tlvs)
{
    if ((tlvs & PROXY_TLV_ALPN) && told->alpn[0] != '\0')
        w->alpn = told->alpn;
    if ((tlvs & PROXY_TLV_AUTHORITY) && told->sni[0] != '\0')
        w->authority = told->sni;
    if (!(tlvs & (PROXY_TLV_SSL | PROXY_TLV_CN | PROXY_TLV_CIPHER)))
        return;
    *t = (struct proxy_tls){
        .version = told->info.version,
        .cipher = tlvs & PROXY_TLV_CIPHER ? told->info.cipher : NULL,
        .common_name =
            (tlvs & PROXY_TLV_CN) && told->common_name[0] != '\0' ? told->common_name : NULL,
        .has_cert = told->has_cert,
        .showed_cert = told->has_cert && !told->info.resumed,
        .verified = told->verified,
    };
    w->tls = t;
}

bool hello_make(struct buf *hello, const struct session *s)
{
    const struct service_config *c = s->service->config;
    const unsigned tlvs = c->send_proxy == SEND_PROXY_V2 ? s->service->send_proxy_tlvs : 0;
    struct net_addr to;
    struct tls_told told;
    struct proxy_tls tls;
    char id[40];
    struct proxy_words w = {.version = c->send_proxy == SEND_PROXY_V1 ? 1 : 2,
                            .checksum = (tlvs & PROXY_TLV_CRC32C) != 0};
    if (destination(s, &to)) {
        w.source = &s->consumer;
        w.destination = &to;
    }
    if (tlvs != 0 && transport_tls_told(s->transport[RELAY_DOWN], &told))
        tell_tls(&w, &tls, &told, tlvs);
    if (tlvs & PROXY_TLV_UNIQUE_ID) {
        const bool given = s->proxied != NULL && s->proxied->unique_id_length > 0;
        const size_t length = own_id(s, id, sizeof id);
        w.unique_id = given ? s->proxied->unique_id : (const uint8_t *)id;
        w.unique_id_length = given ? s->proxied->unique_id_length : length;
    }
    uint8_t bytes[PROXY_HEADER_MAX];
    return buf_append(hello, bytes, proxy_header_build(bytes, &w));
}

/* ---- saying it ---- */

/* At local, of PROXY_HEADER_MAX, what is said for no consumer. */
static const uint8_t *words_of(const struct service_config *c, const struct buf *hello,
                               uint8_t *local, size_t *length_r)
{
    const struct proxy_words nobody = {.version = c->send_proxy == SEND_PROXY_V1 ? 1 : 2};
    if (!buf_empty(hello)) {
        *length_r = buf_length(hello);
        return buf_peek(hello);
    }
    *length_r = proxy_header_build(local, &nobody);
    return local;
}

int hello_send(int fd, const struct service_config *c, const struct buf *hello)
{
    uint8_t local[PROXY_HEADER_MAX];
    size_t length = 0;
    if (c->send_proxy == SEND_PROXY_OFF)
        return 0;
    const uint8_t *bytes = words_of(c, hello, local, &length);
    const ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0)
        return errno;
    return (size_t)sent == length ? 0 : ENOBUFS;
}

bool hello_write(struct transport *t, const struct service_config *c, const struct buf *hello)
{
    uint8_t local[PROXY_HEADER_MAX];
    size_t length = 0, taken = 0;
    if (c->send_proxy == SEND_PROXY_OFF)
        return true;
    const uint8_t *bytes = words_of(c, hello, local, &length);
    return t->ops->write(t, bytes, length, &taken) == TP_OK && taken == length &&
           t->ops->flush(t) == TP_OK;
}
