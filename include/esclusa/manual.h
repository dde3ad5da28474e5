/* manual: the table of options as parts of the man pages and of the shell completion, so that they
 * say what the program takes. For src/generate.c, which runs at build time: nothing of it is in the
 * program. Each writes to out, whose state tells whether that worked. */
#ifndef ESCLUSA_MANUAL_H
#define ESCLUSA_MANUAL_H

#include <stdio.h>

/* mdoc(7). Options as the command line spells them, those of the table only: .Ss and .Bl of each
 * group. */
void manual_print_options(FILE *out);
/* mdoc(7). Settings as the file spells them, with type, range, default and place. */
void manual_print_settings(FILE *out);
/* bash(1): arms of a case over an option word. Each sets `kind` to what its value is (words, file,
 * directory, address, source, user, group, other), and with words `words` to the choices. */
void completion_print_cases(FILE *out);
/* Words in one line: all options of the table, or those that may be given several times. */
void completion_print_options(FILE *out);
void completion_print_repeatable(FILE *out);

/* text as it may stand in a line of mdoc(7): no escape, no request, and minus signs that can be
 * copied. */
void manual_print_text(FILE *out, const char *text);

#endif
