#include "answer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *resolve_reason_word(enum resolve_reason reason)
{
    static const char *const words[] = {
#define RESOLVE_WORD(name, word) [(name)] = (word),
        RESOLVE_REASONS(RESOLVE_WORD)
#undef RESOLVE_WORD
    };
    return words[reason];
}

struct answer *answer_create(size_t count)
{
    struct answer *a = calloc(1, sizeof *a + count * sizeof a->targets[0]);
    if (a == NULL)
        return NULL;
    a->count = count;
    a->reason = RESOLVE_OTHER;
    a->ttl_ms = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        for (int f = 0; f < ANSWER_FAMILIES; f++)
            a->targets[i].parts[f].reason = RESOLVE_OTHER; /* not known yet */
    }
    return a;
}

bool answer_add(struct answer_target *target, const struct sockaddr *address, size_t length)
{
    struct net_addr a = {.length = 0};
    if (length > sizeof a.u || (address->sa_family != AF_INET && address->sa_family != AF_INET6))
        return false;
    memcpy(&a.u, address, length);
    a.length = (socklen_t)length;
    struct answer_part *part =
        &target->parts[address->sa_family == AF_INET6 ? ANSWER_V6 : ANSWER_V4];
    if (part->count >= ANSWER_FAMILY_MAX)
        return false;
    for (size_t i = 0; i < part->count; i++) {
        if (net_addr_equal(&part->list[i], &a))
            return false;
    }
    part->list[part->count++] = a;
    part->reason = RESOLVE_OK;
    return true;
}

void answer_ttl(struct answer *answer, int64_t seconds)
{
    int64_t ms = seconds < 0 ? 0 : seconds * 1000;
    if (ms < answer->ttl_ms)
        answer->ttl_ms = ms;
}

/* ---- one that came half ---- */

static bool says_none(enum resolve_reason reason)
{
    return reason == RESOLVE_EMPTY || reason == RESOLVE_NO_NAME;
}

static const struct answer_target *same_target(const struct answer *in,
                                               const struct answer_target *as)
{
    for (size_t i = 0; i < in->count; i++) {
        if (in->targets[i].port == as->port && strcmp(in->targets[i].host, as->host) == 0)
            return &in->targets[i];
    }
    return NULL;
}

void answer_keep(struct answer *answer, const struct answer *before, int64_t now_ms,
                 int64_t max_age_ms)
{
    for (size_t i = 0; i < answer->count; i++) {
        struct answer_target *target = &answer->targets[i];
        const struct answer_target *old = same_target(before, target);
        for (int f = 0; old != NULL && f < ANSWER_FAMILIES; f++) {
            struct answer_part *part = &target->parts[f];
            const struct answer_part *kept = &old->parts[f];
            if (part->count > 0 || says_none(part->reason) || kept->count == 0 ||
                now_ms - kept->at_ms > max_age_ms)
                continue;
            part->count = kept->count;
            part->at_ms = kept->at_ms;
            memcpy(part->list, kept->list, sizeof part->list);
        }
    }
}

/* ---- in which order ---- */

/* Whether the kernel knows a way there: connect(2) of a datagram socket sends nothing. */
static bool has_route(const struct net_addr *to)
{
    struct net_addr at = *to;
    int fd = socket(at.u.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    if (at.u.sa.sa_family == AF_INET6)
        at.u.in6.sin6_port = htons(9);
    else
        at.u.in.sin_port = htons(9);
    bool has = connect(fd, &at.u.sa, at.length) == 0;
    close(fd);
    return has;
}

static void arrange(struct answer_target *target)
{
    uint8_t last[sizeof target->order];
    size_t unreachable = 0;
    target->count = 0;
    for (int f = 0; f < ANSWER_FAMILIES; f++) {
        for (size_t i = 0; i < target->parts[f].count; i++) {
            uint8_t at = (uint8_t)((size_t)f * ANSWER_FAMILY_MAX + i);
            if (has_route(&target->parts[f].list[i]))
                target->order[target->count++] = at;
            else
                last[unreachable++] = at;
        }
    }
    memcpy(target->order + target->count, last, unreachable);
    target->count += unreachable;
}

/* Of two failures the one that says more: that the name is not there, before that it has no such
 * address; what went wrong, before both. */
static enum resolve_reason worse(enum resolve_reason a, enum resolve_reason b)
{
    if (a == RESOLVE_OK || says_none(a))
        return says_none(a) && says_none(b) && (a == RESOLVE_NO_NAME || b == RESOLVE_NO_NAME)
                   ? RESOLVE_NO_NAME
                   : b;
    return a;
}

void answer_conclude(struct answer *answer)
{
    enum resolve_reason reason = RESOLVE_EMPTY;
    bool any = false;
    for (size_t i = 0; i < answer->count; i++) {
        for (int f = ANSWER_FAMILIES - 1; f >= 0; f--) {
            any = any || answer->targets[i].parts[f].count > 0;
            reason = worse(reason, answer->targets[i].parts[f].reason);
        }
    }
    if (answer->count > 0)
        answer->reason = any ? RESOLVE_OK : reason;
}

void answer_arrange(struct answer *answer)
{
    for (size_t i = 0; i < answer->count; i++)
        arrange(&answer->targets[i]);
}

/* ---- for one asker ---- */

static const struct net_addr *address_at(const struct answer_target *target, size_t i)
{
    return &target->parts[target->order[i] / ANSWER_FAMILY_MAX]
                .list[target->order[i] % ANSWER_FAMILY_MAX];
}

static void set_port(struct net_addr *a, uint16_t port)
{
    if (a->u.sa.sa_family == AF_INET6)
        a->u.in6.sin6_port = htons(port);
    else
        a->u.in.sin_port = htons(port);
}

size_t answer_fill(const struct answer *answer, const uint8_t *order, size_t ordered, uint16_t port,
                   struct net_addr *list, uint8_t *targets, size_t max)
{
    size_t count = 0;
    uint8_t shown = 0;
    for (size_t k = 0; k < ordered && count < max; k++) {
        const struct answer_target *target = &answer->targets[order[k]];
        size_t share = (max - count) / (ordered - k);
        for (size_t i = 0; i < target->count && i < (share > 0 ? share : 1) && count < max; i++) {
            list[count] = *address_at(target, i);
            set_port(&list[count], target->port != 0 ? target->port : port);
            targets[count++] = shown;
        }
        if (target->count > 0)
            shown++;
    }
    return count;
}
