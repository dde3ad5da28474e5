/* Metrics of TLS profiles: what they let pass, and the dates of what was loaded for them. */
#include "metrics.h"

#include <string.h>

void metrics_reports(struct metrics *m, const struct metric_row *row)
{
    static const char *const checks[TLS_REPORTS] = {
        [TLS_REPORT_NAMES] = "names",
        [TLS_REPORT_PINS] = "pins",
        [TLS_REPORT_REVOCATION] = "revocation",
        [TLS_REPORT_STRICT] = "strict",
    };
    struct text t = {.data = NULL};
    for (size_t i = 0; i < 2 * m->s->service_count; i++) {
        const struct service *s = &m->s->services[i / 2];
        bool up = i % 2 == 0;
        const struct tls_profile *profile = up ? s->upstream_tls : s->downstream_tls;
        for (int check = 0; profile != NULL && check < TLS_REPORTS; check++) {
            char more[64];
            (void)snprintf(more, sizeof more, "side=\"%s\",check=\"%s\"",
                           up ? "upstream" : "consumer", checks[check]);
            metrics_sample(m, row->name, metrics_labels_of(&t, s->config->name, NULL, more),
                           tls_profile_reported(profile, (enum tls_report)check));
        }
    }
    text_fini(&t);
}

/* What one service's certificates come to, by setting and use. */
struct loaded_group {
    char setting[48];
    enum tls_certificate_use use;
    unsigned expired, valid;
    int64_t first_valid_s, last_expired_s;
};
#define LOADED_GROUPS 16 /* settings that name certificates, times uses: there are fewer */

struct loaded {
    struct loaded_group groups[LOADED_GROUPS];
    size_t count;
};

static void note_loaded(void *context, const struct tls_certificate *c)
{
    struct loaded *l = context;
    char setting[sizeof l->groups[0].setting];
    admin_setting(c->option, setting, sizeof setting);
    size_t i = 0;
    while (i < l->count &&
           (l->groups[i].use != c->use || strcmp(l->groups[i].setting, setting) != 0))
        i++;
    if (i == LOADED_GROUPS)
        return;
    struct loaded_group *group = &l->groups[i];
    if (i == l->count) {
        *group = (struct loaded_group){.use = c->use, .first_valid_s = INT64_MAX};
        memcpy(group->setting, setting, sizeof setting);
        l->count++;
    }
    if (c->seconds_left > 0) {
        group->valid++;
        if (c->not_after_s < group->first_valid_s)
            group->first_valid_s = c->not_after_s;
    } else {
        group->expired++;
        if (c->not_after_s > group->last_expired_s)
            group->last_expired_s = c->not_after_s;
    }
}

void metrics_loaded(struct metrics *m, const struct metric_row *row)
{
    struct text t = {.data = NULL};
    for (size_t i = 0; i < m->s->service_count; i++) {
        const struct service *s = &m->s->services[i];
        struct loaded l = {.count = 0};
        if (s->upstream_tls != NULL)
            tls_profile_certificates(s->upstream_tls, note_loaded, &l);
        if (s->downstream_tls != NULL)
            tls_profile_certificates(s->downstream_tls, note_loaded, &l);
        for (size_t k = 0; k < l.count; k++) {
            const struct loaded_group *group = &l.groups[k];
            char more[96];
            (void)snprintf(more, sizeof more, "setting=\"%s\",use=\"%s\"", group->setting,
                           admin_use_word(group->use));
            const char *labels = metrics_labels_of(&t, s->config->name, NULL, more);
            if (row->which == METRICS_EXPIRED)
                metrics_sample(m, row->name, labels, group->expired);
            else
                metrics_sample_time(
                    m, row->name, labels,
                    1000000 * (group->valid > 0 ? group->first_valid_s : group->last_expired_s));
        }
    }
    text_fini(&t);
}

static void note_crl(void *context, const struct tls_crl *crl)
{
    int64_t *first_s = context;
    if (crl->next_update_s != 0 && crl->next_update_s < *first_s)
        *first_s = crl->next_update_s;
}

void metrics_crls(struct metrics *m, const struct metric_row *row)
{
    struct text t = {.data = NULL};
    for (size_t i = 0; i < 2 * m->s->service_count; i++) {
        const struct service *s = &m->s->services[i / 2];
        bool up = i % 2 == 0;
        const struct tls_profile *profile = up ? s->upstream_tls : s->downstream_tls;
        int64_t first_s = INT64_MAX;
        if (profile != NULL)
            tls_profile_crls(profile, note_crl, &first_s);
        if (first_s != INT64_MAX)
            metrics_sample_time(m, row->name,
                                metrics_labels_of(&t, s->config->name, NULL,
                                                  up ? "side=\"upstream\"" : "side=\"consumer\""),
                                1000000 * first_s);
    }
    text_fini(&t);
}
