/* why: the failed sessions, as text. Pure but for the stream that is written to. */
#ifndef ESCLUSA_VIEW_WHY_H
#define ESCLUSA_VIEW_WHY_H

#include "model.h"

#include <stdio.h>

void why_print_list(FILE *out, const struct failures *f, const char *admin);
void why_print_one(FILE *out, const struct failure *f);

/* "unknown_ca"; NULL: RFC 8446, 6 and those of before it do not name it. */
const char *why_alert_word(int64_t alert);

#endif
