/* What each of a service's upstreams is to the others: its weight, and whether it is a backup. */
#include "config_internal.h"

#include <esclusa/random.h>
#include <esclusa/str.h>

#define WEIGHT_MAX 100

static bool complain(struct error *err, const struct service_config *c, const char *name,
                     const char *value, const char *sentence, const char *other)
{
    return config_complain(err, service_origin(c, name), name, value, sentence, other);
}

static bool read_weight(const char *text, uint32_t *weight_r)
{
    uint64_t number = 0;
    if (!str_parse_u64(text, 1, WEIGHT_MAX, &number))
        return false;
    *weight_r = (uint32_t)number;
    return true;
}

static bool check_weights(const struct service_config *c, struct error *err)
{
    char most[24];
    if (c->weights.count != 0 && c->weights.count != c->connect.count) {
        snprintf(most, sizeof most, "%zu", c->connect.count);
        return complain(err, c, "weights", NULL,
                        "not one for each {connect}, of which there are {}; give as many, in their "
                        "order",
                        most);
    }
    for (size_t i = 0; i < c->weights.count; i++) {
        uint32_t unused;
        if (!read_weight(c->weights.items[i], &unused))
            return complain(err, c, "weights", c->weights.items[i],
                            "not a weight; give a number from 1 to 100", NULL);
    }
    return true;
}

bool check_shares(const struct service_config *c, struct error *err)
{
    char number[24];
    if (c->connect.count > UPSTREAMS_MAX) {
        snprintf(number, sizeof number, "%d", UPSTREAMS_MAX);
        return complain(err, c, "connect", NULL,
                        "more upstreams than a service may have; give {} at most, or a name with "
                        "several addresses",
                        number);
    }
    if (c->backups >= (int64_t)c->connect.count) {
        snprintf(number, sizeof number, "%lld", (long long)c->backups);
        return complain(err, c, "backups", number,
                        "as many as there are upstreams; one at least must be no backup", NULL);
    }
    if (c->eject_max < c->eject_time) {
        option_format(option_by_name("eject_max"), c, number, sizeof number);
        return complain(err, c, "eject_max", number,
                        "less than {eject_time}, the first time; give as much at least", NULL);
    }
    if (c->balance == BALANCE_SOURCE_HASH && c->warm_min > 0 && c->connect.count > 1)
        return complain(err, c, "warm_min", NULL,
                        "{balance=source_hash} goes by the consumer, so no connection can be made "
                        "ready before; leave one of them out",
                        NULL);
    return check_weights(c, err);
}

static uint64_t mark_of(const char *text)
{
    uint64_t mark = 0;
    for (; *text != '\0'; text++)
        mark = random_mix(mark + (unsigned char)*text + 1);
    return mark;
}

void config_shares(struct service *service)
{
    const struct service_config *c = service->config;
    for (size_t i = 0; i < service->upstream_count; i++) {
        struct upstream *up = &service->upstreams[i];
        up->weight = 1;
        if (i < c->weights.count)
            (void)read_weight(c->weights.items[i], &up->weight); /* checked */
        up->backup = (int64_t)(service->upstream_count - i) <= c->backups;
        up->mark = mark_of(up->text);
    }
}
