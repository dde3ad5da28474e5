/* The table of options as parts of a completion for bash(1). */
#include <esclusa/manual.h>

#include "config_internal.h"

#include <string.h>

/* What to offer for the value. Where the table has no type for it, its argument's name tells. */
static const char *kind_of(const struct option_row *row)
{
    static const struct {
        const char *argument;
        const char *kind;
    } kinds[] = {{"FILE", "file"},    {"FILE|URI", "file"}, {"DIR", "directory"},
                 {"ADDR", "address"}, {"SOURCE", "source"}, {"USER", "user"},
                 {"GROUP", "group"}};
    if (row->type == OPTION_CHOICE || row->type == OPTION_FLAG) {
        return "words";
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(row->argument, kinds[i].argument) == 0) {
            return kinds[i].kind;
        }
    }
    return "other";
}

void completion_print_cases(FILE *out)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        char flag[OPTION_FLAG_MAX];
        if (row->file_only) {
            continue;
        }
        option_flag(row, flag, sizeof(flag));
        fputs("        ", out);
        if (row->letter != '\0') {
            fprintf(out, "-%c | ", row->letter);
        }
        fprintf(out, "%s) kind=%s", flag, kind_of(row));
        if (row->type == OPTION_FLAG) {
            fputs(" words='true false'", out);
        } else if (row->type == OPTION_CHOICE) {
            const char *before = " words='";
            for (const struct option_choice *c = row->choices; c->word != NULL; c++) {
                fprintf(out, "%s%s", before, c->word);
                before = " ";
            }
            fputc('\'', out);
        }
        fputs(" ;;\n", out);
    }
}

static void print_flags(FILE *out, bool all)
{
    const char *between = "";
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        char flag[OPTION_FLAG_MAX];
        if (!row->file_only && (all || row->type == OPTION_TEXT_LIST)) {
            option_flag(row, flag, sizeof(flag));
            fprintf(out, "%s%s", between, flag);
            between = " ";
        }
    }
}

void completion_print_options(FILE *out)
{
    print_flags(out, true);
}

void completion_print_repeatable(FILE *out)
{
    print_flags(out, false);
}
