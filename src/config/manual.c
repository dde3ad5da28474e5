/* The table of options as mdoc(7): the parts of esclusa(1) and esclusa.cfg(5) that list them. */
#include <esclusa/manual.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define LINE_WIDTH 76 /* of the source: mandoc -Tlint asks for less than 80 */
#define FLAG_START "--"

static void print_escaped(FILE *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        switch (text[i]) {
        case '\\':
            fputs("\\e", out);
            break;
        case '-':
            fputs("\\-", out);
            break;
        case '"':
            fputs("\\(dq", out);
            break;
        default:
            fputc(text[i], out);
            break;
        }
    }
}

void manual_print_text(FILE *out, const char *text)
{
    size_t column = 0;
    text += strspn(text, " ");
    while (*text != '\0') {
        const size_t word = strcspn(text, " ");
        if (column != 0 && column + 1 + word > LINE_WIDTH) {
            fputc('\n', out);
            column = 0;
        } else if (column != 0) {
            fputc(' ', out);
            column++;
        }
        /* A request begins with one of these, at the begin of a line (groff(7)). */
        if (column == 0 && (text[0] == '.' || text[0] == '\'')) {
            fputs("\\&", out);
        }
        print_escaped(out, text, word);
        column += word;
        text += word + strspn(text + word, " ");
    }
    fputc('\n', out);
}

/* "report|enforce" as arguments of a macro. */
static void print_alternatives(FILE *out, const char *argument)
{
    while (*argument != '\0') {
        const size_t word = strcspn(argument, "|");
        fputc(' ', out);
        print_escaped(out, argument, word);
        argument += word;
        if (*argument == '|') {
            fputs(" |", out);
            argument++;
        }
    }
}

/* The option whose flag begins at text, as long as it can be; NULL: none does. */
static const struct option_row *flag_at(const char *text, size_t *length_r)
{
    const size_t length = strspn(text, "-abcdefghijklmnopqrstuvwxyz0123456789");
    char flag[OPTION_FLAG_MAX];
    if (strncmp(text, FLAG_START, strlen(FLAG_START)) != 0 || length >= sizeof(flag)) {
        return NULL;
    }
    memcpy(flag, text, length);
    flag[length] = '\0';
    *length_r = length;
    return option_by_flag(flag);
}

/* A help text for the file's reader: "the --tls-min" is "the tls_min" there. The caller frees. */
static char *as_in_file(const char *text)
{
    char *copy = str_dup(text);
    char *to = copy;
    while (copy != NULL && *text != '\0') {
        size_t length = 0;
        const struct option_row *row = flag_at(text, &length);
        if (row == NULL) {
            *to++ = *text++;
            continue;
        }
        /* The name is the flag without its dashes in front: it fits. */
        memcpy(to, row->name, strlen(row->name));
        to += strlen(row->name);
        text += length;
    }
    if (copy != NULL) {
        *to = '\0';
    }
    return copy;
}

/* As a sentence. The first letter is a capital where that begins a plain word. */
static void print_sentence(FILE *out, const char *text, bool in_file)
{
    char *own = in_file ? as_in_file(text) : str_dup(text);
    char *full = NULL;
    size_t size = 0;
    FILE *sentence = open_memstream(&full, &size);
    if (own == NULL || sentence == NULL) {
        fputs("esclusa: no memory\n", stderr);
        abort(); /* a tool of the build */
    }
    const size_t plain = strspn(own, "abcdefghijklmnopqrstuvwxyz'");
    if (plain > 0 && strchr(" ,:;", own[plain]) != NULL) {
        own[0] = (char)toupper((unsigned char)own[0]);
    }
    fprintf(sentence, "%s.", own);
    (void)fclose(sentence);
    manual_print_text(out, full);
    free(full);
    free(own);
}

static void print_default(FILE *out, const struct option_row *row, bool in_file)
{
    char text[256];
    size_t length = 0;
    const char *fallback = row->default_text != NULL ? row->default_text : row->default_note;
    const bool required = strncmp(fallback, "required", strlen("required")) == 0;
    (void)str_append(text, sizeof(text), &length, "%s%s", required ? "" : "default: ", fallback);
    print_sentence(out, text, in_file);
}

static void print_option(FILE *out, const struct option_row *row)
{
    char flag[OPTION_FLAG_MAX];
    option_flag(row, flag, sizeof(flag));
    fputs(".It", out);
    if (row->letter != '\0') {
        fprintf(out, " Fl %c ,", row->letter);
    }
    fputs(" Fl \\-", out);
    print_escaped(out, flag + strlen(FLAG_START), strlen(flag) - strlen(FLAG_START));
    fputs(row->type == OPTION_CHOICE || row->type == OPTION_FLAG ? " Cm" : " Ar", out);
    print_alternatives(out, row->argument);
    fputc('\n', out);
    print_sentence(out, row->help, false);
    print_default(out, row, false);
}

static void print_setting(FILE *out, const struct option_row *row)
{
    char range[128];
    char text[512];
    size_t length = 0;
    option_range(row, range, sizeof(range));
    fprintf(out, ".It Ic %s\n", row->name);
    print_sentence(out, row->help, true);
    (void)str_append(text, sizeof(text), &length, "%s%s%s", option_type_word(row),
                     range[0] == '\0'             ? ""
                     : row->type == OPTION_CHOICE ? " "
                                                  : ", ",
                     range);
    print_sentence(out, text, true);
    print_default(out, row, true);
    length = 0;
    (void)str_append(text, sizeof(text), &length, "stands in: %s", option_place_word(row));
    print_sentence(out, text, true);
    if (row->restart) {
        print_sentence(out, "a reload does not change it", true);
    }
}

static void print_groups(FILE *out, bool in_file)
{
    bool open = false;
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        if (row->heading != NULL) {
            fputs(open ? ".El\n.Ss " : ".Ss ", out);
            manual_print_text(out, row->heading);
            fputs(".Bl -tag -width Ds\n", out);
            open = true;
        }
        if (in_file) {
            print_setting(out, row);
        } else if (!row->file_only) {
            print_option(out, row);
        }
    }
    fputs(open ? ".El\n" : "", out);
}

void manual_print_options(FILE *out)
{
    print_groups(out, false);
}

void manual_print_settings(FILE *out)
{
    print_groups(out, true);
}
