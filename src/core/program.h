/* program: how this process was started, and how another is started as this one was. Private to
 * core; main thread. */
#ifndef ESCLUSA_CORE_PROGRAM_H
#define ESCLUSA_CORE_PROGRAM_H

#include <esclusa/core.h>
#include <esclusa/inherit.h>
#include <esclusa/launcher.h>

struct program {
    char *path; /* of the binary, absolute, links not followed; NULL: not known */
    char *const *argv;
    struct inherit inherit;
    struct launcher launcher;
};

/* NULL for NULL. */
struct inherit *program_inherited(struct program *program);

#endif
