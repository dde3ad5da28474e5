/* From options to the resolver's settings; what becomes of names, into the log. */
#include "names.h"

#include <esclusa/log.h>
#include <esclusa/str.h>

#define DNS_PORT    53
#define SERVERS_MAX 1024

/* On the resolver's thread. */
static void tell(void *context, enum resolve_event event, const char *host, const char *text)
{
    struct log_line line;
    (void)context;
    switch (event) {
    case RESOLVE_EVENT_STALE:
        log_begin(&line, LOG_LEVEL_WARN, "dns_stale");
        log_text(&line, "name", host);
        log_text(&line, "error", text);
        log_text(&line, "remedy",
                 "its last addresses are used meanwhile, for dns_stale_max at most; check the name "
                 "and the DNS servers");
        break;
    case RESOLVE_EVENT_RECOVERED:
        log_begin(&line, LOG_LEVEL_INFO, "dns_recovered");
        log_text(&line, "name", host);
        break;
    case RESOLVE_EVENT_SYSTEM:
        log_begin(&line, text == NULL ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "dns_servers");
        log_text(&line, "file", "/etc/resolv.conf");
        log_text(&line, "change", text == NULL ? "read anew" : NULL);
        log_text(&line, "error", text);
        log_text(&line, "remedy",
                 text == NULL
                     ? NULL
                     : "the servers before stay in use; let the process read the file: as "
                       "root in the sandbox it cannot read one that was put in its place "
                       "(run it as a user of its own, or name the servers in dns_servers)");
        break;
    }
    log_end(&line);
}

static void settings_of(const struct config *c, char *servers, struct resolver_settings *settings)
{
    size_t length = 0;
    servers[0] = '\0';
    for (size_t i = 0; i < c->dns_servers.count; i++) {
        struct net_addr a;
        char text[NET_TEXT_MAX];
        if (!net_addr_parse(&a, c->dns_servers.items[i], DNS_PORT, NULL))
            continue; /* the configuration's check has read them all */
        net_addr_format(&a, text, sizeof text);
        (void)str_append(servers, SERVERS_MAX, &length, "%s%s", length > 0 ? "," : "", text);
    }
    *settings = (struct resolver_settings){.system = c->dns == DNS_WORD_SYSTEM,
                                           .servers = servers,
                                           .timeout_ms = c->dns_timeout,
                                           .tries = c->dns_tries,
                                           .stale_max_ms = c->dns_stale_max};
}

bool names_open(struct worker_group *group, const struct config *c, struct error *err)
{
    static const struct resolver_listener listener = {.tell = tell};
    char servers[SERVERS_MAX];
    struct resolver_settings settings;
    settings_of(c, servers, &settings);
    group->resolver = resolver_create(&settings, &listener, err);
    return group->resolver != NULL;
}

void names_configure(struct worker_group *group, const struct config *c)
{
    char servers[SERVERS_MAX];
    struct resolver_settings settings;
    settings_of(c, servers, &settings);
    resolver_configure(group->resolver, &settings);
}
