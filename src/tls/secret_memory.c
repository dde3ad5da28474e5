/* Where OpenSSL puts private keys. */
#include <esclusa/tls.h>

#include <openssl/crypto.h>
#include <sys/resource.h>

/* OpenSSL has no second place: where this heap is full, a handshake fails. What it holds: our keys,
 * at most some KiB each; the generators of random numbers, and what private operations need for a
 * moment; and the key share of each side of a session, which its SSL keeps as long as it lives (32
 * bytes of X25519, 128 of P-521). So its size comes from the number of descriptors that may be. */
#define KEYS_SIZE       ((size_t)1024 * 1024)
#define DESCRIPTOR_SIZE ((size_t)128)
#define SIZE_MAX_OURS   ((size_t)128 * 1024 * 1024)
#define BLOCK_MIN       ((size_t)32)

size_t tls_secret_memory_size(size_t descriptors)
{
    size_t size = KEYS_SIZE; /* a power of two, as OpenSSL wants it */
    while (size < SIZE_MAX_OURS && (size - KEYS_SIZE) / DESCRIPTOR_SIZE < descriptors)
        size *= 2;
    return size;
}

enum tls_secret_memory tls_secret_memory_open(size_t *size_r)
{
    struct rlimit limit = {.rlim_max = RLIM_INFINITY};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    *size_r = tls_secret_memory_size((size_t)limit.rlim_max);
    switch (CRYPTO_secure_malloc_init(*size_r, BLOCK_MIN)) {
    case 1:
        return TLS_SECRETS_LOCKED;
    case 2: /* made; but a guard page, the lock or the exclusion from cores was refused */
        return TLS_SECRETS_UNLOCKED;
    default:
        *size_r = 0;
        return TLS_SECRETS_ANYWHERE;
    }
}
