#include <esclusa/file.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *unfit(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return NULL;
    case S_IFDIR:
        return "this is a directory, a file is needed";
    case S_IFIFO:
        return "this is a FIFO, a regular file is needed";
    case S_IFSOCK:
        return "this is a socket, a regular file is needed";
    default:
        return "this is a device, a regular file is needed";
    }
}

const char *file_unfit(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? unfit(st.st_mode) : NULL;
}

/* Looked at before it is opened, as to open a device may do something; and after, as it may have
 * been replaced. */
int file_open_regular(const char *path, const char **why_r)
{
    struct stat st;
    *why_r = file_unfit(path);
    if (*why_r != NULL)
        return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        *why_r = strerrordesc_np(errno);
    else
        *why_r = unfit(st.st_mode);
    if (*why_r == NULL)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}
