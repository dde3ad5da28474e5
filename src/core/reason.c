#include <esclusa/reason.h>

static const struct {
    const char *word;
    enum log_level level;
    const char *meaning;
} rows[REASON_COUNT] = {[REASON_NONE] = {"none", LOG_LEVEL_DEBUG, "the session has not ended"},
#define REASON_ROW(name, word, level, meaning) [name] = {word, level, meaning},
                        REASON_LIST(REASON_ROW)
#undef REASON_ROW
};

const char *reason_word(enum reason reason)
{
    return rows[reason].word;
}

enum log_level reason_level(enum reason reason)
{
    return rows[reason].level;
}

const char *reason_meaning(enum reason reason)
{
    return rows[reason].meaning;
}
