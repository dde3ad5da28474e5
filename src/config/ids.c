#include "config_internal.h"

#include <esclusa/str.h>

#include <grp.h>
#include <pwd.h>

bool config_id(const char *text, bool group, unsigned *id_r, struct error *err)
{
    uint64_t number = 0;
    if (str_parse_u64(text, 0, UINT32_MAX - 1, &number)) {
        *id_r = (unsigned)number;
        return true;
    }
    const struct passwd *user = group ? NULL : getpwnam(text);
    const struct group *entry = group ? getgrnam(text) : NULL;
    if (user != NULL) {
        *id_r = user->pw_uid;
    } else if (entry != NULL) {
        *id_r = entry->gr_gid;
    } else {
        return error_set(err, "'%s': there is no such %s; make it, or give its number", text,
                         group ? "group" : "user");
    }
    return true;
}
