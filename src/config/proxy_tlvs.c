/* Which TLVs a PROXY header bears, by their names. */
#include "config_internal.h"

#include <esclusa/str.h>

static const struct {
    const char *name;
    unsigned bit;
} tlvs[] = {
    {"ssl", PROXY_TLV_SSL},       {"cn", PROXY_TLV_CN},
    {"cipher", PROXY_TLV_CIPHER}, {"authority", PROXY_TLV_AUTHORITY},
    {"alpn", PROXY_TLV_ALPN},     {"unique_id", PROXY_TLV_UNIQUE_ID},
    {"crc32c", PROXY_TLV_CRC32C},
};

bool config_tlvs(const struct text_list *list, unsigned *bits_r, struct error *err)
{
    *bits_r = 0;
    for (size_t i = 0; i < list->count; i++) {
        unsigned bit = 0;
        for (size_t k = 0; k < sizeof tlvs / sizeof tlvs[0]; k++) {
            if (str_equal(tlvs[k].name, list->items[i]))
                bit = tlvs[k].bit;
        }
        if (bit == 0) {
            char quoted[QUOTE_MAX];
            config_quote(quoted, sizeof quoted, list->items[i]);
            return error_set(err,
                             "%s: unknown; give ssl, cn, cipher, authority, alpn, unique_id or "
                             "crc32c",
                             quoted);
        }
        *bits_r |= bit;
    }
    return true;
}
