/* The one file that sees libconfig. It must not see <esclusa/config.h> (libconfig's names begin
 * with config_ too). 1.5 (Debian 12) and 1.7 (Debian 13) will do. */
#include <esclusa/str.h>

#include "parse.h"

#include <libconfig.h>
#include <stdlib.h>

struct parse_tree {
    config_t config;
};

struct parse_tree *parse_tree_create(const char *text, unsigned *line_r, char *reason_r,
                                     size_t reason_size)
{
    struct parse_tree *tree = calloc(1, sizeof(*tree));
    if (tree == NULL) {
        *line_r = 1;
        (void)str_copy(reason_r, reason_size, "no memory");
        return NULL;
    }
    config_init(&tree->config);
    /* No conversions: a number written as 1.5 or as a string is not a whole number. */
    config_set_auto_convert(&tree->config, CONFIG_FALSE);
    /* Every @include was replaced (source.c); should one be left, it finds nothing there. */
    config_set_include_dir(&tree->config, "/dev/null");
    if (config_read_string(&tree->config, text) == CONFIG_TRUE) {
        return tree;
    }
    const char *reason = config_error_text(&tree->config);
    const int line = config_error_line(&tree->config);
    *line_r = line > 0 ? (unsigned)line : 1;
    (void)str_copy(reason_r, reason_size, reason == NULL ? "syntax error" : reason);
    parse_tree_destroy(&tree);
    return NULL;
}

void parse_tree_destroy(struct parse_tree **tree)
{
    if (*tree != NULL) {
        config_destroy(&(*tree)->config);
        free(*tree);
        *tree = NULL;
    }
}

static enum parsed_kind kind_of(const config_setting_t *setting)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_GROUP:
        return PARSED_GROUP;
    case CONFIG_TYPE_STRING:
        return PARSED_TEXT;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return PARSED_INTEGER;
    case CONFIG_TYPE_FLOAT:
        return PARSED_REAL;
    case CONFIG_TYPE_BOOL:
        return PARSED_TRUTH;
    default:
        return PARSED_LIST;
    }
}

static void view(const config_setting_t *setting, struct parsed *parsed_r)
{
    const char *name = config_setting_name(setting);
    *parsed_r = (struct parsed){
        .kind = kind_of(setting),
        .name = name == NULL ? "" : name,
        .line = config_setting_source_line(setting),
        .setting = setting,
    };
    switch (parsed_r->kind) {
    case PARSED_GROUP:
    case PARSED_LIST:
        parsed_r->count = (size_t)config_setting_length(setting);
        break;
    case PARSED_TEXT: {
        const char *text = config_setting_get_string(setting);
        parsed_r->text = text == NULL ? "" : text;
        break;
    }
    case PARSED_INTEGER:
        parsed_r->number = config_setting_get_int64(setting);
        break;
    case PARSED_TRUTH:
        parsed_r->number = config_setting_get_bool(setting);
        break;
    case PARSED_REAL:
        break;
    }
}

void parse_root(const struct parse_tree *tree, struct parsed *root_r)
{
    view(config_root_setting(&tree->config), root_r);
}

void parse_child(const struct parsed *parent, size_t index, struct parsed *child_r)
{
    view(config_setting_get_elem(parent->setting, (unsigned)index), child_r);
}
