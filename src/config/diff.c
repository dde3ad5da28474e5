/* What a reload changes, in words for the log: services added, removed, altered setting by setting,
 * and certificates of ours that were replaced. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#define VALUE_MAX 512

struct teller {
    void (*tell)(void *context, const char *service, const char *change);
    void *context;
    const char *service;
};

static const struct service *find(const struct snapshot *s, const char *name)
{
    for (size_t i = 0; i < s->service_count; i++) {
        if (str_equal(s->services[i].config->name, name))
            return &s->services[i];
    }
    return NULL;
}

static void certificate(const struct teller *t, const struct tls_profile *before,
                        const struct tls_profile *after)
{
    struct tls_certificate old, new;
    if (before == NULL || after == NULL || !tls_profile_own_certificate(before, &old) ||
        !tls_profile_own_certificate(after, &new))
        return; /* given or taken away: the settings tell */
    if (str_equal(old.serial, new.serial) && str_equal(old.subject, new.subject) &&
        str_equal(old.not_after, new.not_after))
        return;
    char text[3 * VALUE_MAX];
    size_t length = 0;
    (void)str_append(text, sizeof text, &length,
                     "certificate: %s serial %s until %s -> %s serial %s until %s", old.subject,
                     old.serial, old.not_after, new.subject, new.serial, new.not_after);
    t->tell(t->context, t->service, text);
}

/* Of one scope, from two structs of that scope. */
static void settings(const struct teller *t, enum option_scope scope, const void *before,
                     const void *after)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        if (row->scope != scope)
            continue;
        char old[VALUE_MAX], new[VALUE_MAX], text[3 * VALUE_MAX];
        size_t length = 0;
        option_format(row, before, old, sizeof old);
        option_format(row, after, new, sizeof new);
        if (str_equal(old, new))
            continue;
        /* Threads and the log are made once. */
        bool restart = scope == OPTION_GLOBAL && !str_equal(row->name, "drain_timeout");
        (void)str_append(text, sizeof text, &length, "%s: %s -> %s%s", row->name,
                         old[0] != '\0' ? old : "none", new[0] != '\0' ? new : "none",
                         restart ? " (after a restart)" : "");
        t->tell(t->context, t->service, text);
    }
}

static void trust(const struct teller *t, const struct tls_profile *before,
                  const struct tls_profile *after)
{
    if (before == NULL || after == NULL ||
        str_equal(tls_profile_trust(before), tls_profile_trust(after)))
        return;
    char text[2 * VALUE_MAX];
    size_t length = 0;
    (void)str_append(text, sizeof text, &length, "trust anchors: %s -> %s",
                     tls_profile_trust(before), tls_profile_trust(after));
    t->tell(t->context, t->service, text);
}

void snapshot_diff(const struct snapshot *before, const struct snapshot *after,
                   void (*tell)(void *context, const char *service, const char *change),
                   void *context)
{
    struct teller t = {.tell = tell, .context = context};
    settings(&t, OPTION_GLOBAL, &before->config, &after->config);
    for (size_t i = 0; i < before->service_count; i++) {
        const struct service *old = &before->services[i];
        const struct service *new = find(after, old->config->name);
        t.service = old->config->name;
        if (new == NULL) {
            tell(context, t.service, "removed");
            continue;
        }
        settings(&t, OPTION_SERVICE, old->config, new->config);
        certificate(&t, old->upstream_tls, new->upstream_tls);
        certificate(&t, old->downstream_tls, new->downstream_tls);
        trust(&t, old->upstream_tls, new->upstream_tls);
        trust(&t, old->downstream_tls, new->downstream_tls);
    }
    for (size_t i = 0; i < after->service_count; i++) {
        if (find(before, after->services[i].config->name) == NULL)
            tell(context, after->services[i].config->name, "added");
    }
}
