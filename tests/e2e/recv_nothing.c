/* A fault for the tests, loaded into the gateway with LD_PRELOAD: what begins with "SPIN" stays in
 * its socket for ever. epoll goes on to say that there is something to read, recv(2) that there is
 * not, as after a mistake in a kernel, a library or the program. */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <sys/socket.h>

static const char mark[] = {'S', 'P', 'I', 'N'};

ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    char head[sizeof mark];
    const long seen =
        syscall(SYS_recvfrom, fd, head, sizeof head, MSG_PEEK | MSG_DONTWAIT, NULL, NULL);
    if (seen == (long)sizeof head && memcmp(head, mark, sizeof mark) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return syscall(SYS_recvfrom, fd, bytes, size, flags, NULL, NULL);
}
