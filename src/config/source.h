/* The text of a config file with what it includes in place, and where each line of it came from.
 * Private to src/config. */
#ifndef ESCLUSA_CONFIG_SOURCE_H
#define ESCLUSA_CONFIG_SOURCE_H

#include <esclusa/config.h>

struct source_line {
    const char *file;
    unsigned line;
};

struct source {
    char *text; /* terminated; holds no other NUL */
    size_t length, size;
    struct source_line *lines;
    size_t line_count, line_size;
    struct text_list *files; /* the config's; gets the name of each file that is read */
};

/* From memory, and from a file. source_fini() is the caller's also after false. */
bool source_from_text(struct source *s, struct text_list *files, const char *name, const char *text,
                      size_t length, struct error *err) WARN_UNUSED;
bool source_from_file(struct source *s, struct text_list *files, const char *path,
                      struct error *err) WARN_UNUSED;
void source_fini(struct source *s);
/* Where line (from 1) of text was written; the nearest there is, for one that is not. */
struct origin source_origin(const struct source *s, unsigned line);

#endif
