/* A view of libconfig's tree, for what need not know of libconfig. Private to src/config. */
#ifndef ESCLUSA_CONFIG_PARSE_H
#define ESCLUSA_CONFIG_PARSE_H

#include <esclusa/error.h>

#include <stddef.h>
#include <stdint.h>

enum parsed_kind {
    PARSED_GROUP, /* { ... } */
    PARSED_LIST,  /* ( ... ) or [ ... ] */
    PARSED_TEXT,
    PARSED_INTEGER,
    PARSED_REAL,
    PARSED_TRUTH
};

/* Texts live as long as the tree. */
struct parsed {
    enum parsed_kind kind;
    const char *name; /* "" for an element of a list */
    unsigned line;
    size_t count;     /* PARSED_GROUP, PARSED_LIST */
    const char *text; /* PARSED_TEXT */
    int64_t number;   /* PARSED_INTEGER, PARSED_TRUTH */
    const void *setting;
};

struct parse_tree;

/* NULL: *line_r and reason_r (libconfig's words) tell why. text: terminated, without @include. */
struct parse_tree *parse_tree_create(const char *text, unsigned *line_r, char *reason_r,
                                     size_t reason_size) WARN_UNUSED;
void parse_tree_destroy(struct parse_tree **tree);

void parse_root(const struct parse_tree *tree, struct parsed *root_r);
/* index < parent->count. */
void parse_child(const struct parsed *parent, size_t index, struct parsed *child_r);

#endif
