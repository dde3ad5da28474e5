/* What a reload changes, in words for the log: services added, removed, altered setting by setting,
 * certificates and trust anchors that were replaced, revocation lists. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <stdlib.h>

#define VALUE_MAX 512

struct teller {
    void (*tell)(void *context, const char *service, const char *change);
    void *context;
    const char *service;
    unsigned told;
};

static void say(struct teller *t, const char *text)
{
    t->told++;
    t->tell(t->context, t->service, text);
}

/* ---- certificates ---- */

/* Those of one use and side, before or after; matched: has its like on the other. */
struct certificates {
    enum tls_certificate_use use;
    struct tls_certificate *items;
    bool *matched;
    size_t count, room;
    bool failed; /* no memory */
};

static void take(void *context, const struct tls_certificate *one)
{
    struct certificates *c = context;
    if (one->use != c->use || c->failed)
        return;
    if (c->count == c->room) {
        size_t room = c->room == 0 ? 16 : c->room * 2;
        struct tls_certificate *items = realloc(c->items, room * sizeof *items);
        if (items != NULL)
            c->items = items;
        c->failed = items == NULL;
        if (c->failed)
            return;
        c->room = room;
    }
    c->items[c->count++] = *one;
}

static bool certificates_read(struct certificates *c, const struct tls_profile *profile)
{
    tls_profile_certificates(profile, take, c);
    c->matched = calloc(c->count + 1, sizeof *c->matched);
    return !c->failed && c->matched != NULL;
}

static void certificates_free(struct certificates *c)
{
    free(c->items);
    free(c->matched);
}

static bool is_same(const struct tls_certificate *a, const struct tls_certificate *b)
{
    return str_equal(a->serial, b->serial) && str_equal(a->subject, b->subject) &&
           str_equal(a->not_after, b->not_after);
}

static bool is_renewed(const struct tls_certificate *a, const struct tls_certificate *b)
{
    return str_equal(a->subject, b->subject);
}

static bool is_in_its_place(const struct tls_certificate *a, const struct tls_certificate *b)
{
    (void)a;
    (void)b;
    return true;
}

/* NULL: none before, or none after. */
static void tell_certificate(struct teller *t, const struct tls_certificate *old,
                             const struct tls_certificate *new)
{
    char text[3 * VALUE_MAX];
    size_t length = 0;
    const struct tls_certificate *first = old != NULL ? old : new;
    if (first == NULL)
        return;
    const char *what = first->use == TLS_CERTIFICATE_OWN ? "certificate" : "trust anchor";
    const char *how = old == NULL ? " added" : new == NULL ? " removed" : "";
    (void)str_append(text, sizeof text, &length, "%s%s: %s serial %s until %s", what, how,
                     first->subject, first->serial, first->not_after);
    if (old != NULL && new != NULL)
        (void)str_append(text, sizeof text, &length, " -> %s serial %s until %s", new->subject,
                         new->serial, new->not_after);
    say(t, text);
}

static void match(struct teller *t, struct certificates *before, struct certificates *after,
                  bool (*alike)(const struct tls_certificate *, const struct tls_certificate *),
                  bool told)
{
    for (size_t i = 0; i < before->count; i++) {
        for (size_t j = 0; j < after->count && !before->matched[i]; j++) {
            if (after->matched[j] || !alike(&before->items[i], &after->items[j]))
                continue;
            before->matched[i] = after->matched[j] = true;
            if (told)
                tell_certificate(t, &before->items[i], &after->items[j]);
        }
    }
}

/* A list may have been put in another order, and only some of it renewed. */
static void certificates(struct teller *t, const struct tls_profile *before,
                         const struct tls_profile *after, enum tls_certificate_use use)
{
    struct certificates old = {.use = use}, new = {.use = use};
    if (before != NULL && after != NULL && certificates_read(&old, before) &&
        certificates_read(&new, after)) {
        match(t, &old, &new, is_same, false);
        match(t, &old, &new, is_renewed, true);
        if (use == TLS_CERTIFICATE_OWN)
            match(t, &old, &new, is_in_its_place, true);
        for (size_t i = 0; i < old.count; i++)
            if (!old.matched[i])
                tell_certificate(t, &old.items[i], NULL);
        for (size_t i = 0; i < new.count; i++)
            if (!new.matched[i])
                tell_certificate(t, NULL, &new.items[i]);
    }
    certificates_free(&old);
    certificates_free(&new);
}

/* ---- settings ---- */

/* Of one scope, from two structs of that scope. */
static void settings(struct teller *t, enum option_scope scope, const void *before,
                     const void *after)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        if (row->scope != scope)
            continue;
        char old[VALUE_MAX], new[VALUE_MAX], text[3 * VALUE_MAX];
        size_t length = 0;
        if (option_equal(row, before, after))
            continue;
        option_show(row, before, old, sizeof old);
        option_show(row, after, new, sizeof new);
        (void)str_append(text, sizeof text, &length, "%s: %s -> %s%s", row->name, old, new,
                         row->restart ? " (after a restart)" : "");
        say(t, text);
    }
}

/* One side of a service. told_before: what its settings had to say was said. */
static void profile(struct teller *t, const char *side, const struct tls_profile *before,
                    const struct tls_profile *after, unsigned told_before)
{
    if (before == NULL || after == NULL)
        return; /* given or taken away: the settings tell */
    certificates(t, before, after, TLS_CERTIFICATE_OWN);
    certificates(t, before, after, TLS_CERTIFICATE_ANCHOR);
    if (t->told != told_before || tls_profile_same_rules(before, after))
        return;
    char text[VALUE_MAX];
    size_t length = 0;
    (void)str_append(text, sizeof text, &length,
                     "%s: what verification reads from files changed (revocation lists)", side);
    say(t, text);
}

void snapshot_diff(const struct snapshot *before, const struct snapshot *after,
                   void (*tell)(void *context, const char *service, const char *change),
                   void *context)
{
    struct teller t = {.tell = tell, .context = context};
    settings(&t, OPTION_GLOBAL, &before->config, &after->config);
    for (size_t i = 0; i < before->service_count; i++) {
        const struct service *old = &before->services[i];
        const struct service *new = snapshot_service(after, old->config->name);
        t.service = old->config->name;
        if (new == NULL) {
            say(&t, "removed");
            continue;
        }
        const unsigned told = t.told;
        settings(&t, OPTION_SERVICE, old->config, new->config);
        profile(&t, "upstream", old->upstream_tls, new->upstream_tls, told);
        profile(&t, "listener", old->downstream_tls, new->downstream_tls, told);
    }
    for (size_t i = 0; i < after->service_count; i++) {
        if (snapshot_service(before, after->services[i].config->name) == NULL)
            tell(context, after->services[i].config->name, "added");
    }
}
