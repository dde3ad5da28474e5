/* Where the program is, what it was handed, and telling who handed it how the start went. */
#include "program.h"

#include <esclusa/str.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#define SELF "/proc/self/exe"

static bool is_this_program(const char *path)
{
    struct stat there, here;
    return stat(path, &there) == 0 && stat(SELF, &here) == 0 && there.st_dev == here.st_dev &&
           there.st_ino == here.st_ino;
}

/* As execve(2) was given it, made absolute: a link on the way, like one to the version in use, is
 * followed anew when the program is started again. Where that is not this program (an interpreter's
 * word, a descriptor), what the kernel says it is. Asked at the start, when the file is still that.
 */
static char *find_program(void)
{
    char path[2 * PATH_MAX] = "";
    size_t length = 0;
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): getauxval(3) gives an address as a number */
    const char *given = (const char *)getauxval(AT_EXECFN);
    if (given != NULL && given[0] != '/' && getcwd(path, PATH_MAX) != NULL) {
        length = strlen(path);
        (void)str_append(path, sizeof path, &length, "/%s", given);
        given = path;
    }
    if (given != NULL && given[0] == '/' && is_this_program(given))
        return str_dup(given);
    ssize_t read = readlink(SELF, path, sizeof path - 1);
    if (read <= 0)
        return NULL;
    path[read] = '\0';
    return path[0] == '/' ? str_dup(path) : NULL;
}

struct program *program_create(char *const argv[], struct error *err)
{
    struct program *p = calloc(1, sizeof *p);
    if (p == NULL) {
        error_set(err, "no memory");
        return NULL;
    }
    p->argv = argv;
    p->launcher.fd = -1;
    if (!inherit_take(&p->inherit, err)) {
        program_failed(p, err->text);
        program_destroy(&p);
        return NULL;
    }
    p->path = find_program();
    return p;
}

void program_prepare(struct program *program)
{
    static const char *const variables[] = {"LISTEN_FDS", "LISTEN_FDNAMES", INHERIT_READY_FD, NULL};
    struct error unused;
    error_init(&unused);
    if (program->path == NULL || getpid() == 1 ||
        !launcher_start(&program->launcher, program->path, program->argv, variables, &unused))
        program->launcher.fd = -1; /* an upgrade will say that it cannot be */
}

/* One write(2) of less than PIPE_BUF: whole or not at all. */
void program_failed(struct program *program, const char *why)
{
    char text[ERROR_TEXT_MAX + 16];
    size_t length = 0;
    int fd = program->inherit.ready_fd;
    if (fd < 0)
        return;
    (void)str_append(text, sizeof text, &length, "failed %s\n", why);
    ssize_t wrote = write(fd, text, length);
    (void)wrote; /* nobody there any more: nobody to tell */
    close(fd);
    program->inherit.ready_fd = -1;
}

void program_destroy(struct program **program)
{
    struct program *p = *program;
    if (p == NULL)
        return;
    inherit_fini(&p->inherit);
    launcher_stop(&p->launcher);
    free(p->path);
    free(p);
    *program = NULL;
}

struct inherit *program_inherited(struct program *program)
{
    return program == NULL ? NULL : &program->inherit;
}
