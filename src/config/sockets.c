/* What a service's sockets are set to, from the words of its options. */
#include "config_internal.h"

#include <esclusa/str.h>

#include <stdlib.h>
#include <string.h>

/* "40000-49999". */
static bool read_ports(const char *text, uint16_t *first_r, uint16_t *last_r)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9')
        return false;
    const unsigned long first = strtoul(text, &end, 10);
    if (*end != '-' || end[1] < '0' || end[1] > '9')
        return false;
    const unsigned long last = strtoul(end + 1, &end, 10);
    *first_r = (uint16_t)first;
    *last_r = (uint16_t)last;
    return *end == '\0' && first >= 1 && first <= last && last <= UINT16_MAX;
}

static bool read_sources(struct sock_settings *s, const struct text_list *list,
                         const char **wrong_r)
{
    for (size_t i = 0; i < list->count; i++) {
        struct net_addr a;
        *wrong_r = list->items[i];
        if (!net_addr_from_literal(&a, list->items[i], 0))
            return false;
        struct net_addr *slot = a.u.sa.sa_family == AF_INET ? &s->source_4 : &s->source_6;
        if (slot->length > 0)
            return false;
        *slot = a;
    }
    return true;
}

bool config_sockets(const struct service_config *c, struct sock_settings *up,
                    struct sock_settings *down, struct error *err)
{
    const char *wrong = NULL;
    *up = (struct sock_settings){
        .send_buffer = c->send_buffer,
        .receive_buffer = c->receive_buffer,
        .dscp = c->dscp,
        .fwmark = c->fwmark,
        .fast_open = c->tcp_fast_open,
        .keepalive_idle = c->keepalive_idle,
        .keepalive_interval = c->keepalive_interval,
        .keepalive_probes = c->keepalive_probes,
        .congestion = c->congestion_control,
        .interface = c->source_interface,
    };
    *down = (struct sock_settings){
        .send_buffer = c->listen_send_buffer,
        .receive_buffer = c->listen_receive_buffer,
        .dscp = c->listen_dscp,
        .fast_open = c->listen_tcp_fast_open,
        .keepalive_idle = c->listen_keepalive_idle,
        .keepalive_interval = c->listen_keepalive_interval,
        .keepalive_probes = c->listen_keepalive_probes,
        .congestion = c->listen_congestion_control,
    };
    if (!read_sources(up, &c->source_address, &wrong))
        return config_complain(err, service_origin(c, "source_address"), "source_address", wrong,
                               "give one IPv4 and one IPv6 address at most, without a port", NULL);
    if (c->source_ports == NULL)
        return true;
    if (read_ports(c->source_ports, &up->first_port, &up->last_port)) {
        up->kernel_chooses = sock_ports_are_local(up->first_port, up->last_port);
        return true;
    }
    return config_complain(err, service_origin(c, "source_ports"), "source_ports", c->source_ports,
                           "not a range; give two ports, like 40000-49999", NULL);
}
