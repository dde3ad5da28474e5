/* Which certificates were told of already. */
#include "strict.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Upstreams of one profile are few; what is forgotten is told again, no more. */
#define SEEN_MAX 256

struct tls_strict_seen {
    pthread_mutex_t lock;
    unsigned next, count;
    unsigned char prints[SEEN_MAX][TLS_FINGERPRINT_SIZE];
};

struct tls_strict_seen *tls_strict_seen_create(void)
{
    struct tls_strict_seen *seen = calloc(1, sizeof *seen);
    if (seen != NULL && pthread_mutex_init(&seen->lock, NULL) != 0) {
        free(seen);
        seen = NULL;
    }
    return seen;
}

void tls_strict_seen_destroy(struct tls_strict_seen **seen)
{
    if (*seen != NULL)
        (void)pthread_mutex_destroy(&(*seen)->lock);
    free(*seen);
    *seen = NULL;
}

static bool note(struct tls_strict_seen *seen, const unsigned char *print)
{
    for (unsigned i = 0; i < seen->count; i++)
        if (memcmp(seen->prints[i], print, TLS_FINGERPRINT_SIZE) == 0)
            return false;
    memcpy(seen->prints[seen->next], print, TLS_FINGERPRINT_SIZE);
    seen->next = (seen->next + 1) % SEEN_MAX;
    if (seen->count < SEEN_MAX)
        seen->count++;
    return true;
}

bool tls_strict_first_time(struct tls_strict_seen *seen, const X509 *leaf)
{
    unsigned char print[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (X509_digest(leaf, EVP_sha256(), print, &length) != 1 || length != TLS_FINGERPRINT_SIZE)
        return false;
    (void)pthread_mutex_lock(&seen->lock);
    bool first = note(seen, print);
    (void)pthread_mutex_unlock(&seen->lock);
    return first;
}
