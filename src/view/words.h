/* words: the command line of esclusa-view. Pure. */
#ifndef ESCLUSA_VIEW_WORDS_H
#define ESCLUSA_VIEW_WORDS_H

#include "address.h"

#include <stdint.h>

enum view_command { VIEW_WHY, VIEW_TOP };

struct view_words {
    enum view_command command;
    struct view_address address;
    uint64_t id; /* why: 0: the list */
    bool json;   /* why */
    bool once;   /* top */
    int64_t interval_ms;
};

bool view_words_parse(struct view_words *w, int argc, char *const argv[],
                      struct error *err) WARN_UNUSED;

#endif
