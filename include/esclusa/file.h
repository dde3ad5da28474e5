/* file: opening what a user named as a file, so that no other thing of that name is waited for.
 * Any thread. Reading a regular file blocks: start and reload only. */
#ifndef ESCLUSA_FILE_H
#define ESCLUSA_FILE_H

#include <esclusa/error.h>

/* A descriptor to read a regular file; -1: *why_r is a static text ("this is a FIFO, a regular
 * file is needed", "Permission denied"). A FIFO would be waited for, at a reload for good, and
 * would be empty there; some devices never end. */
int file_open_regular(const char *path, const char **why_r) WARN_UNUSED;
/* NULL: a regular file, or nothing that could be looked at; else the same text as above. For what
 * a library is to open by itself. */
const char *file_unfit(const char *path) WARN_UNUSED;

#endif
