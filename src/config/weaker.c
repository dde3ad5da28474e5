/* What a reload would verify less than before: services of one name are compared by the table's
 * `weaker`, where an option is of use both before and after. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <string.h>

#define VALUE_MAX 512

struct scales {
    void (*tell)(void *context, const char *service, const char *change);
    void *context;
    const struct service *before, *after;
    bool weaker;
};

static void say(struct scales *s, const char *name, const char *before, const char *after)
{
    char text[3 * VALUE_MAX];
    size_t length = 0;
    (void)str_append(text, sizeof text, &length, "%s: %s -> %s", name, before, after);
    s->tell(s->context, s->before->config->name, text);
    s->weaker = true;
}

static void tell_row(struct scales *s, const struct option_row *row)
{
    char before[VALUE_MAX], after[VALUE_MAX];
    option_show(row, s->before->config, before, sizeof before);
    option_show(row, s->after->config, after, sizeof after);
    say(s, row->name, before, after);
}

/* ---- addresses: TLS that became plain ---- */

/* A plain upstream that was not there when one at least was tls://. */
static void weigh_upstreams(struct scales *s)
{
    const struct service *old = s->before, *new = s->after;
    for (size_t i = 0; old->upstream_tls != NULL && i < new->upstream_count; i++) {
        bool is_new = new->upstreams[i].endpoint.scheme != NET_TLS;
        for (size_t j = 0; is_new && j < old->upstream_count; j++)
            is_new = !str_equal(old->upstreams[j].text, new->upstreams[i].text);
        if (is_new) {
            tell_row(s, option_by_name("connect"));
            return;
        }
    }
}

static void weigh_listeners(struct scales *s)
{
    const struct service *old = s->before, *new = s->after;
    for (size_t i = 0; old->downstream_tls != NULL && i < new->listener_count; i++) {
        bool is_new = new->listeners[i].endpoint.scheme != NET_TLS;
        for (size_t j = 0; is_new && j < old->listener_count; j++)
            is_new = !str_equal(old->listeners[j].text, new->listeners[i].text);
        if (is_new) {
            tell_row(s, option_by_name("listen"));
            return;
        }
    }
}

/* ---- settings ---- */

/* Of which one is as good as another; listen_allow rules: each lets further consumers in, so that
 * to lose one but not the last is stricter. */
#define KIN_MAX 5
static const char *const kin[][KIN_MAX] = {
    {"ca", "ca_dir"},
    {"crl", "crl_dir"},
    {"listen_ca", "listen_ca_dir"},
    {"listen_crl", "listen_crl_dir"},
    {"listen_allow_cn", "listen_allow_ou", "listen_allow_dns", "listen_allow_uri",
     "listen_allow_pin"},
};

static bool is_given(const struct option_row *row, const struct service_config *c)
{
    const struct text_list *list = option_list(row, c);
    return list != NULL ? list->count > 0 : option_text(row, c) != NULL;
}

/* The row, or one that is as good. */
static bool is_given_by_kin(const struct option_row *row, const struct service_config *c)
{
    bool given = is_given(row, c);
    for (size_t i = 0; i < sizeof kin / sizeof kin[0]; i++) {
        bool in_it = false;
        for (size_t n = 0; n < KIN_MAX && kin[i][n] != NULL; n++)
            in_it = in_it || str_equal(kin[i][n], row->name);
        for (size_t n = 0; in_it && n < KIN_MAX && kin[i][n] != NULL; n++)
            given = given || is_given(option_by_name(kin[i][n]), c);
    }
    return given;
}

static bool is_idle(const struct option_row *row, const struct service *s)
{
    return option_idle(s->config, row, s->downstream_tls != NULL, s->upstream_tls != NULL) != NULL;
}

static void weigh_row(struct scales *s, const struct option_row *row)
{
    const int64_t before = option_number(row, s->before->config);
    const int64_t after = option_number(row, s->after->config);
    bool weaker = false;
    switch (row->weaker) {
    case WEAKER_NEVER:
        break;
    case WEAKER_IF_LESS:
        weaker = after < before;
        break;
    case WEAKER_IF_MORE:
        weaker = after > before;
        break;
    case WEAKER_IF_GONE:
        weaker = is_given(row, s->before->config) && !is_given_by_kin(row, s->after->config);
        break;
    }
    if (weaker)
        tell_row(s, row);
}

static const char *word_of(const struct option_row *row, int64_t value)
{
    for (const struct option_choice *c = row->choices; c->word != NULL; c++)
        if (c->value == value)
            return c->word;
    return "none";
}

/* By what is in effect: what is given may be nothing, or stand for something else. */
static void weigh_effective(struct scales *s, const char *name, int64_t before, int64_t after)
{
    const struct option_row *row = option_by_name(name);
    if (after < before)
        say(s, name, word_of(row, before), word_of(row, after));
}

static void weigh_versions(struct scales *s)
{
    const struct service_config *old = s->before->config, *new = s->after->config;
    if (s->before->upstream_tls != NULL && s->after->upstream_tls != NULL)
        weigh_effective(s, "tls_min", old->tls_min, new->tls_min);
    if (s->before->downstream_tls != NULL && s->after->downstream_tls != NULL)
        weigh_effective(s, "listen_tls_min", listen_tls_min(old), listen_tls_min(new));
}

static void weigh_consumers(struct scales *s)
{
    if (s->before->downstream_tls != NULL && s->after->downstream_tls != NULL)
        weigh_effective(s, "listen_client", listen_client(s->before->config),
                        listen_client(s->after->config));
}

/* Of usage 2 (DANE-TA) or 3 (DANE-EE): without trust anchors it takes the place of the system's. */
static bool is_record_of_trust(const char *text)
{
    text += strspn(text, " \t");
    return text[0] == '2' || text[0] == '3';
}

static bool has_record_of_trust(const struct service_config *c)
{
    for (size_t i = 0; i < c->tlsa.count; i++)
        if (is_record_of_trust(c->tlsa.items[i]))
            return true;
    return false;
}

/* Records where the system's trust store was: who has that key needs no CA any more. */
static void weigh_records(struct scales *s)
{
    const struct option_row *row = option_by_name("tlsa");
    const struct service_config *old = s->before->config, *new = s->after->config;
    if (s->before->upstream_tls == NULL || s->after->upstream_tls == NULL ||
        is_idle(row, s->before) || is_idle(row, s->after))
        return;
    bool alone = has_record_of_trust(new) && !is_given_by_kin(option_by_name("ca"), new);
    if (alone && !has_record_of_trust(old))
        tell_row(s, row);
}

/* ---- networks of consumers ---- */

static bool is_covered(const struct net_cidr *network, const struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct net_cidr c;
        struct error unused;
        error_init(&unused);
        if (net_cidr_parse(&c, list->items[i], &unused) && net_cidr_covers(&c, network))
            return true;
    }
    return false;
}

/* Each network of inner lies in one of outer. */
static bool all_covered(const struct text_list *inner, const struct text_list *outer)
{
    for (size_t i = 0; i < inner->count; i++) {
        struct net_cidr c;
        struct error unused;
        error_init(&unused);
        if (!net_cidr_parse(&c, inner->items[i], &unused) || !is_covered(&c, outer))
            return false;
    }
    return true;
}

/* Weaker: somebody may connect who might not before. Without allow_from everybody may. */
static void weigh_networks(struct scales *s)
{
    const struct service_config *old = s->before->config, *new = s->after->config;
    if (old->allow_from.count > 0 &&
        (new->allow_from.count == 0 || !all_covered(&new->allow_from, &old->allow_from)))
        tell_row(s, option_by_name("allow_from"));
    if (!all_covered(&old->deny_from, &new->deny_from))
        tell_row(s, option_by_name("deny_from"));
}

/* Somebody who had to come through a proxy need not any more, or may now say who others are. */
static void weigh_proxies(struct scales *s)
{
    const struct service_config *old = s->before->config, *new = s->after->config;
    if (old->accept_proxy == ACCEPT_PROXY_OFF)
        return;
    if (new->accept_proxy == ACCEPT_PROXY_OFF)
        tell_row(s, option_by_name("accept_proxy"));
    else if (!all_covered(&new->proxy_from, &old->proxy_from))
        tell_row(s, option_by_name("proxy_from"));
}

/* An address may be connected to that might not before. */
static void weigh_upstream_networks(struct scales *s)
{
    const struct service_config *old = s->before->config, *new = s->after->config;
    if (old->forbid_private_upstreams != 0 && new->forbid_private_upstreams != 0 &&
        !all_covered(&new->allow_upstreams, &old->allow_upstreams))
        tell_row(s, option_by_name("allow_upstreams"));
}

static bool has_text(const struct text_list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (str_equal(list->items[i], text))
            return true;
    return false;
}

static bool has_all(const struct text_list *inner, const struct text_list *outer)
{
    for (size_t i = 0; i < inner->count; i++)
        if (!has_text(outer, inner->items[i]))
            return false;
    return true;
}

/* The same of users: without either list everybody may. */
static void weigh_users(struct scales *s)
{
    const struct service_config *old = s->before->config, *new = s->after->config;
    if (old->allow_uid.count + old->allow_gid.count == 0)
        return;
    const bool anybody = new->allow_uid.count + new->allow_gid.count == 0;
    if ((anybody && old->allow_uid.count > 0) || !has_all(&new->allow_uid, &old->allow_uid))
        tell_row(s, option_by_name("allow_uid"));
    if ((anybody && old->allow_gid.count > 0) || !has_all(&new->allow_gid, &old->allow_gid))
        tell_row(s, option_by_name("allow_gid"));
}

static void weigh(struct scales *s)
{
    static const char *const effective[] = {"tls_min", "listen_tls_min", "listen_client"};
    weigh_listeners(s);
    weigh_upstreams(s);
    weigh_networks(s);
    weigh_proxies(s);
    weigh_upstream_networks(s);
    weigh_users(s);
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        bool apart = row->scope != OPTION_SERVICE;
        for (size_t n = 0; n < sizeof effective / sizeof effective[0]; n++)
            apart = apart || str_equal(effective[n], row->name);
        if (!apart && !is_idle(row, s->before) && !is_idle(row, s->after))
            weigh_row(s, row);
    }
    weigh_records(s);
    weigh_consumers(s);
    weigh_versions(s);
}

bool snapshot_weakens(const struct snapshot *before, const struct snapshot *after,
                      void (*tell)(void *context, const char *service, const char *change),
                      void *context)
{
    struct scales s = {.tell = tell, .context = context};
    for (size_t i = 0; i < before->service_count; i++) {
        s.before = &before->services[i];
        s.after = snapshot_service(after, s.before->config->name);
        if (s.after != NULL)
            weigh(&s);
    }
    return s.weaker;
}
