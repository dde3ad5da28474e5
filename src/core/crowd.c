#include "crowd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PREFIX_BYTES 8 /* of an IPv6 address: its /64 */

/* The family, and the address or its prefix. */
struct key {
    uint32_t family, v4;
    uint64_t prefix;
};

struct crowd_entry {
    struct crowd_entry *next;
    struct key key;
    unsigned count;
};

static bool key_of(struct key *k, const struct net_addr *from)
{
    struct net_addr a = *from;
    net_addr_unmap(&a);
    *k = (struct key){.family = a.u.sa.sa_family};
    if (k->family == AF_INET)
        k->v4 = a.u.in.sin_addr.s_addr;
    else if (k->family == AF_INET6)
        memcpy(&k->prefix, &a.u.in6.sin6_addr, PREFIX_BYTES);
    else
        return false;
    return true;
}

static bool same(const struct key *a, const struct key *b)
{
    return a->family == b->family && a->v4 == b->v4 && a->prefix == b->prefix;
}

/* The finalizer of SplitMix64: every bit of the key changes every bit of the result. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static struct crowd_bucket *bucket_of(struct crowd *c, const struct key *k)
{
    return &c->buckets[mix(mix(c->seed ^ k->prefix) ^ k->v4) % CROWD_BUCKETS];
}

void crowd_init(struct crowd *c)
{
    memset(c, 0, sizeof *c);
    if (getrandom(&c->seed, sizeof c->seed, GRND_NONBLOCK) != (ssize_t)sizeof c->seed)
        c->seed = (uint64_t)(uintptr_t)c;
    for (size_t i = 0; i < CROWD_BUCKETS; i++)
        pthread_mutex_init(&c->buckets[i].mutex, NULL);
}

void crowd_fini(struct crowd *c)
{
    for (size_t i = 0; i < CROWD_BUCKETS; i++) {
        while (c->buckets[i].first != NULL) {
            struct crowd_entry *e = c->buckets[i].first;
            c->buckets[i].first = e->next;
            free(e);
        }
        pthread_mutex_destroy(&c->buckets[i].mutex);
    }
}

/* The place that points to the entry, or to the end of the list. Locked. */
static struct crowd_entry **find(struct crowd_bucket *b, const struct key *k)
{
    struct crowd_entry **at = &b->first;
    while (*at != NULL && !same(&(*at)->key, k))
        at = &(*at)->next;
    return at;
}

static bool enter(struct crowd_bucket *b, const struct key *k, unsigned most)
{
    struct crowd_entry **at = find(b, k);
    if (*at == NULL) {
        struct crowd_entry *e = most > 0 ? calloc(1, sizeof *e) : NULL;
        if (e == NULL)
            return false;
        e->key = *k;
        *at = e;
    }
    if ((*at)->count >= most)
        return false;
    (*at)->count++;
    return true;
}

bool crowd_enter(struct crowd *c, const struct net_addr *from, unsigned most)
{
    struct key k;
    if (!key_of(&k, from))
        return true;
    struct crowd_bucket *b = bucket_of(c, &k);
    pthread_mutex_lock(&b->mutex);
    bool entered = enter(b, &k, most);
    pthread_mutex_unlock(&b->mutex);
    return entered;
}

void crowd_leave(struct crowd *c, const struct net_addr *from)
{
    struct key k;
    if (!key_of(&k, from))
        return;
    struct crowd_bucket *b = bucket_of(c, &k);
    pthread_mutex_lock(&b->mutex);
    struct crowd_entry **at = find(b, &k);
    if (*at != NULL && --(*at)->count == 0) {
        struct crowd_entry *e = *at;
        *at = e->next;
        free(e);
    }
    pthread_mutex_unlock(&b->mutex);
}

unsigned crowd_count(struct crowd *c, const struct net_addr *from)
{
    struct key k;
    if (!key_of(&k, from))
        return 0;
    struct crowd_bucket *b = bucket_of(c, &k);
    pthread_mutex_lock(&b->mutex);
    struct crowd_entry **at = find(b, &k);
    unsigned count = *at == NULL ? 0 : (*at)->count;
    pthread_mutex_unlock(&b->mutex);
    return count;
}
