/* libFuzzer target: what may come as a PROXY header. Whatever the bytes: no crash; what is whole is
 * so at every longer beginning and a part at every shorter one, so that no split changes it; what
 * it says, said again, is read as the same. */
#include <esclusa/proxy_header.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void say_again(const struct proxy_header *h, unsigned version)
{
    uint8_t bytes[PROXY_HEADER_MAX];
    struct proxy_header again;
    const struct proxy_words w = {.version = version,
                                  .source = &h->source,
                                  .destination = &h->destination,
                                  .unique_id = h->unique_id,
                                  .unique_id_length = h->unique_id_length,
                                  .checksum = true};
    const size_t length = proxy_header_build(bytes, &w);
    require(length <= sizeof bytes);
    require(proxy_header_parse(bytes, length, &again) == PROXY_WHOLE && again.length == length);
    const sa_family_t family = h->source.u.sa.sa_family;
    const bool mapped = family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&h->source.u.in6.sin6_addr);
    if (mapped || (version == 1 && family == AF_UNIX))
        return; /* another way to say it */
    require(again.relayed && net_addr_equal(&again.source, &h->source) &&
            net_addr_equal(&again.destination, &h->destination));
    require(version == 1 || again.unique_id_length == h->unique_id_length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header h, part;
    uint8_t *bytes =
        malloc(size > 0 ? size : 1); /* of that very size: a read past the end is seen */
    if (bytes == NULL)
        return 0;
    if (size > 0)
        memcpy(bytes, data, size);
    const enum proxy_status status = proxy_header_parse(bytes, size, &h);
    const size_t whole = status == PROXY_WHOLE ? h.length : size;
    require(whole <= size && whole <= PROXY_HEADER_MAX + (status == PROXY_WRONG ? size : 0));
    require((status == PROXY_WRONG) == (h.problem != NULL));
    require(status == PROXY_WHOLE || !h.relayed);
    for (size_t i = 0; i < whole && status != PROXY_WRONG; i += i < 600 ? 1 : 97)
        require(proxy_header_parse(bytes, i, &part) == PROXY_PARTIAL);
    if (status == PROXY_WHOLE) {
        require(proxy_header_parse(bytes, whole, &part) == PROXY_WHOLE && part.length == whole);
        if (h.relayed) {
            say_again(&h, 1);
            say_again(&h, 2);
        }
    }
    free(bytes);
    return 0;
}
