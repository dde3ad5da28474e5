/* The table of options in words: --help and check --explain. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <string.h>

#define HELP_COLUMN 34
#define HELP_WIDTH  64

/* Words of text, broken at HELP_WIDTH, each line but the first indented to HELP_COLUMN. */
static void print_wrapped(FILE *out, const char *text)
{
    size_t column = 0;
    while (*text != '\0') {
        const size_t word = strcspn(text, " ");
        if (column != 0 && column + 1 + word > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = 0;
        }
        fprintf(out, "%s%.*s", column == 0 ? "" : " ", (int)word, text);
        column += word + (column == 0 ? 0 : 1);
        text += word + strspn(text + word, " ");
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const char *flag, char letter, const char *argument,
                         const char *help)
{
    char left[80];
    size_t length = 0;
    if (letter != '\0') {
        (void)str_append(left, sizeof(left), &length, "  -%c, %s %s", letter, flag, argument);
    } else {
        (void)str_append(left, sizeof(left), &length, "      %s %s", flag, argument);
    }
    fprintf(out, "%-*s", HELP_COLUMN, left);
    if (length + 1 > HELP_COLUMN) {
        fprintf(out, "\n%*s", HELP_COLUMN, "");
    }
    print_wrapped(out, help);
}

static void print_row(FILE *out, const struct option_row *row)
{
    char flag[OPTION_FLAG_MAX];
    char help[512];
    size_t length = 0;
    option_flag(row, flag, sizeof(flag));
    const char *fallback = row->default_text != NULL ? row->default_text : row->default_note;
    const bool required = strncmp(fallback, "required", strlen("required")) == 0;
    (void)str_append(help, sizeof(help), &length, "%s (%s%s)", row->help,
                     required ? "" : "default: ", fallback);
    print_option(out, flag, row->letter, row->argument, help);
}

static void print_config_option(FILE *out)
{
    char help[512];
    size_t length = 0;
    const char *between = "";
    (void)str_append(help, sizeof(help), &length,
                     "read the services and the global settings from this file; of the options "
                     "above only these go with it, and override the file: ");
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].scope == OPTION_GLOBAL) {
            char flag[OPTION_FLAG_MAX];
            option_flag(&option_table[i], flag, sizeof(flag));
            (void)str_append(help, sizeof(help), &length, "%s%s", between, flag);
            between = ", ";
        }
    }
    print_option(out, "--config", '\0', "FILE", help);
}

void config_print_help(FILE *out)
{
    fputs(
        "esclusa: a TLS egress gateway: plaintext in, verified TLS out\n"
        "\n"
        "  esclusa --listen ADDR --connect ADDR [options]\n"
        "  esclusa --config FILE [global options]\n"
        "  esclusa check (the same)   validate, also the certificate files; print what would "
        "run\n"
        "  esclusa check --explain    every setting with its type, range and default\n"
        "  esclusa why [ID] --admin ADDR [--json]   the last failed sessions of the gateway whose\n"
        "                             admin endpoint is there, or all about the one with this ID\n"
        "  esclusa top --admin ADDR [--interval SECONDS] [--once]   the services of that gateway,\n"
        "                             live in a terminal\n",
        out);
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].heading != NULL) {
            fprintf(out, "\n%s\n", option_table[i].heading);
        }
        if (!option_table[i].file_only) {
            print_row(out, &option_table[i]);
        }
    }
    fputs("\nThe program\n", out);
    print_config_option(out);
    print_option(out, "--format", '\0', "text|json", "of check: how to print (default: text)");
    print_option(out, "--explain", '\0', "",
                 "of check: print every setting with its type, range and default");
    print_option(out, "--sandbox", '\0', "",
                 "of check, without a value: print what the process will be allowed");
    print_option(out, "--once", '\0', "", "of top: print one table and exit");
    print_option(out, "--interval", '\0', "SECONDS",
                 "of top: how often the gateway is asked (default: 1)");
    print_option(out, "--json", '\0', "", "of why: print the answer as JSON");
    print_option(out, "--version", 'V', "", "print the version and that of OpenSSL");
    print_option(out, "--help", 'h', "", "print this");
    fputs("\n"
          "DUR: 500ms, 5s, 10m, 1h, 2d. Values are also taken as --option=value.\n"
          "Exit status: 0 clean, 1 could not run, 2 the options are wrong.\n"
          "\n"
          "  esclusa --listen 8080 --connect example.com:443\n",
          out);
}

const char *option_type_word(const struct option_row *row)
{
    switch (row->type) {
    case OPTION_TEXT:
        return "string";
    case OPTION_TEXT_LIST:
        return "string or list of strings";
    case OPTION_NUMBER:
        return "whole number";
    case OPTION_DURATION:
        return "duration";
    case OPTION_FLAG:
        return "flag";
    case OPTION_CHOICE:
        break;
    }
    return "one of";
}

const char *option_place_word(const struct option_row *row)
{
    if (row->scope == OPTION_GLOBAL) {
        return "top of the file, command line";
    }
    if (row->file_only) {
        return row->own ? "service" : "service, defaults";
    }
    return row->own ? "service, command line" : "service, defaults, command line";
}

void config_print_explanation(FILE *out)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        char range[128];
        option_range(row, range, sizeof(range));
        if (row->heading != NULL) {
            fprintf(out, "%s# %s\n\n", i == 0 ? "" : "\n", row->heading);
        }
        fprintf(out, "%s\n", row->name);
        fprintf(out, "    type:    %s%s%s\n", option_type_word(row),
                range[0] == '\0'             ? ""
                : row->type == OPTION_CHOICE ? " "
                                             : ", ",
                range);
        fprintf(out, "    default: %s\n",
                row->default_text != NULL ? row->default_text : row->default_note);
        fprintf(out, "    where:   %s\n", option_place_word(row));
        fprintf(out, "    meaning: %s\n", row->help);
    }
}
