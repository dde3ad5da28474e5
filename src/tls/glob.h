/* glob: texts against patterns in which a * stands for any text, also none. Nothing else is
 * special. Pure; any thread. */
#ifndef ESCLUSA_TLS_GLOB_H
#define ESCLUSA_TLS_GLOB_H

#include <stdbool.h>
#include <stddef.h>

/* The whole text is matched. Of it the first `folded` bytes are compared without regard to the case
 * of ASCII letters. In time glob_length * length at the most, whatever the two hold. */
bool glob_match(const char *glob, size_t glob_length, const char *text, size_t length,
                size_t folded);

#endif
