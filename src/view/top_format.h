/* top_format: numbers as a person reads them in a narrow column. Pure; "-" is nothing to say. */
#ifndef ESCLUSA_VIEW_TOP_FORMAT_H
#define ESCLUSA_VIEW_TOP_FORMAT_H

#include "histogram.h"
#include "page.h"

#include <stdint.h>

#define FORMAT_MAX 32

/* "0", "0.25", "3.2", "412", "1.5k", "3.4M"; < 0: "-". At most 5 characters. */
void format_number(char dst[FORMAT_MAX], double value);
/* The same of what is counted, so without a part: "3", not "3.0". */
void format_count(char dst[FORMAT_MAX], double value);
/* Seconds as milliseconds: "0.42", "35.1", "1250", ">10000" beyond what the buckets tell. */
void format_ms(char dst[FORMAT_MAX], struct quantile q);
/* "5s", "3m 20s", "4h 12m", "12d 3h". */
void format_span(char dst[FORMAT_MAX], double seconds);
/* To an end: "12d 3h", with " !" or " !!" the nearer it is, "EXPIRED 3d 1h"; and its tone. */
enum tone format_left(char dst[FORMAT_MAX], int64_t end_s, double now_s);

#endif
