/* words: the command line of esclusa-view. Pure. */
#ifndef ESCLUSA_VIEW_WORDS_H
#define ESCLUSA_VIEW_WORDS_H

#include "address.h"

#include <stdint.h>

struct view_words {
    struct view_address address;
    uint64_t id; /* 0: the list */
    bool json;
};

bool view_words_parse(struct view_words *w, int argc, char *const argv[],
                      struct error *err) WARN_UNUSED;

#endif
