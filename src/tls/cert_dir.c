/* Directories of certificates and of revocation lists. */
#include "cert_dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool cert_dir_ends_with(const char *text, const char *tail)
{
    size_t a = strlen(text);
    size_t b = strlen(tail);
    return a > b && strcmp(text + a - b, tail) == 0;
}

bool cert_dir_is_hash_name(const char *name, const char *mark)
{
    size_t length = strlen(mark);
    if (strspn(name, "0123456789abcdef") != 8 || strncmp(name + 8, mark, length) != 0)
        return false;
    const char *number = name + 8 + length;
    return number[0] != '\0' && number[strspn(number, "0123456789")] == '\0';
}

static bool read_entry(const char *dir, const char *name, const char *option,
                       bool (*take)(void *context, const char *path, const struct stat *st,
                                    struct error *err),
                       void *context, struct error *err)
{
    char *path = NULL;
    struct stat st;
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return error_set_errno(err, ENOMEM, "%s '%s'", option, dir);
    bool done = stat(path, &st) == 0 ? !S_ISREG(st.st_mode) || take(context, path, &st, err)
                                     : error_set_errno(err, errno, "%s '%s'", option, path);
    free(path);
    return done;
}

bool cert_dir_read(const char *path, const char *option, int (*wanted)(const struct dirent *),
                   bool (*take)(void *context, const char *path, const struct stat *st,
                                struct error *err),
                   void *context, struct error *err)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, wanted, alphasort);
    if (count < 0)
        return error_set_errno(err, errno, "%s '%s'", option, path);
    bool done = true;
    for (int i = 0; i < count; i++) {
        done = done && read_entry(path, entries[i]->d_name, option, take, context, err);
        free(entries[i]);
    }
    free(entries);
    return done;
}
