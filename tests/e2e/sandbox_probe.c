/* Takes options as the gateway does, enters the sandbox that they make, then tries one thing.
 *
 *   sandbox_probe TRIAL[=ARGUMENT] GATEWAY-OPTIONS...
 *
 * Prints "ok", or "failed: ERRNO-NAME"; a call that kills the process says nothing. With
 * --sandbox off among the options the same is tried without it. */
#include <esclusa/config.h>
#include <esclusa/core.h>
#include <esclusa/sandbox.h>

#include "core/gateway.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t parent;

static int close_if(int fd)
{
    if (fd >= 0)
        close(fd);
    return fd >= 0 ? 0 : -1;
}

static int try_read(const char *path)
{
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    struct stat status;
    int done = fstat(fd, &status) == 0 && S_ISDIR(status.st_mode) ? 0 : (int)read(fd, &byte, 1);
    close(fd);
    return done < 0 ? -1 : 0;
}

static int try_list(const char *path)
{
    char buffer[4096];
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long got = fd < 0 ? -1 : syscall(SYS_getdents64, fd, buffer, sizeof buffer);
    return got < 0 ? -1 : 0;
}

static int try_create(const char *path)
{
    return close_if(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int try_write(const char *path)
{
    return close_if(open(path, O_WRONLY | O_CLOEXEC));
}

static int try_remove(const char *path)
{
    return unlink(path);
}

static int try_truncate(const char *path)
{
    return truncate(path, 0);
}

static int try_bind_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, sizeof address);
}

static int try_connect_abstract(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path + 1, name, sizeof address.sun_path - 2);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, length);
}

static int try_bind_port(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, sizeof address);
}

static int try_exec(const char *path)
{
    char name[] = "true";
    char *const words[] = {name, NULL};
    execv(path, words);
    return -1;
}

static int try_ptrace(const char *unused)
{
    (void)unused;
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : -1;
}

static int try_process_vm(const char *unused)
{
    (void)unused;
    char a = 1;
    char b = 2;
    const struct iovec from = {&a, 1};
    const struct iovec to = {&b, 1};
    return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1 ? 0 : -1;
}

static int try_bpf(const char *unused)
{
    (void)unused;
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.map_type = BPF_MAP_TYPE_ARRAY;
    attr.key_size = attr.value_size = 4;
    attr.max_entries = 1;
    return close_if((int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}

static int try_unshare(const char *unused)
{
    (void)unused;
    return unshare(CLONE_NEWNS);
}

/* On the directory alone that the test made: a mount of it on itself. */
static int try_mount(const char *path)
{
    return mount(path, path, NULL, MS_BIND, NULL);
}

static int try_chroot(const char *path)
{
    return chroot(path);
}

static int try_module(const char *unused)
{
    (void)unused;
    /* No module of that name is there: as root, without the sandbox, ENOENT. */
    return syscall(SYS_delete_module, "esclusa_none", 0) == 0 || errno == ENOENT ? 0 : -1;
}

static int try_packet(const char *unused)
{
    (void)unused;
    return close_if(socket(AF_PACKET, SOCK_RAW, 0));
}

static int try_raw(const char *unused)
{
    (void)unused;
    return close_if(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}

static int try_uevent(const char *unused)
{
    (void)unused;
    return close_if(socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT));
}

static int try_sock_diag(const char *unused)
{
    (void)unused;
    return close_if(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
}

static int try_fork(const char *unused)
{
    (void)unused;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? -1 : (int)(waitpid(pid, NULL, 0) < 0);
}

static void *nothing(void *context)
{
    return context;
}

static int try_thread(const char *unused)
{
    (void)unused;
    pthread_t thread;
    errno = pthread_create(&thread, NULL, nothing, NULL);
    return errno != 0 ? -1 : pthread_join(thread, NULL);
}

static void *open_in_thread(void *path)
{
    return try_read(path) == 0 ? path : NULL;
}

/* A thread that the process starts afterwards is confined as well. */
static int try_thread_read(const char *path)
{
    pthread_t thread;
    void *done = NULL;
    char copy[256];
    strncpy(copy, path, sizeof copy - 1);
    copy[sizeof copy - 1] = '\0';
    errno = pthread_create(&thread, NULL, open_in_thread, copy);
    if (errno != 0)
        return -1;
    pthread_join(thread, &done);
    errno = EACCES;
    return done != NULL ? 0 : -1;
}

static int try_kill(const char *unused)
{
    (void)unused;
    return kill(parent, 0);
}

static int try_kill_self(const char *unused)
{
    (void)unused;
    return kill(getpid(), 0);
}

static int try_anonymous_code(const char *unused)
{
    (void)unused;
    void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -1 : 0;
}

static int try_written_code(const char *unused)
{
    (void)unused;
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -1 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static int try_memfd(const char *unused)
{
    (void)unused;
    return close_if(memfd_create("x", MFD_CLOEXEC));
}

static int try_setuid(const char *unused)
{
    (void)unused;
    return setresuid(0, 0, 0);
}

static int try_dumpable(const char *unused)
{
    (void)unused;
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int try_is_dumpable(const char *unused)
{
    (void)unused;
    errno = EPERM;
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 ? 0 : -1;
}

static int try_limit(const char *unused)
{
    (void)unused;
    struct rlimit limit;
    return getrlimit(RLIMIT_CORE, &limit) != 0 ? -1 : setrlimit(RLIMIT_CORE, &limit);
}

static int try_get_limit(const char *unused)
{
    (void)unused;
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit);
}

static int try_chown(const char *path)
{
    return chown(path, 0, 0);
}

static int try_tiocsti(const char *unused)
{
    (void)unused;
    char byte = 'x';
    return ioctl(0, TIOCSTI, &byte) == 0 || errno == ENOTTY || errno == EIO ? 0 : -1;
}

static int try_resolve(const char *name)
{
    struct addrinfo *list = NULL;
    int why = getaddrinfo(name, "80", NULL, &list);
    if (why == 0)
        freeaddrinfo(list);
    errno = EHOSTUNREACH;
    return why == 0 ? 0 : -1;
}

static const struct {
    const char *name;
    int (*run)(const char *argument);
} trials[] = {
    {"read", try_read},
    {"list", try_list},
    {"create", try_create},
    {"write", try_write},
    {"remove", try_remove},
    {"truncate", try_truncate},
    {"bind_unix", try_bind_unix},
    {"bind_port", try_bind_port},
    {"connect_abstract", try_connect_abstract},
    {"exec", try_exec},
    {"ptrace", try_ptrace},
    {"process_vm", try_process_vm},
    {"bpf", try_bpf},
    {"unshare", try_unshare},
    {"mount", try_mount},
    {"chroot", try_chroot},
    {"module", try_module},
    {"packet", try_packet},
    {"raw", try_raw},
    {"uevent", try_uevent},
    {"sock_diag", try_sock_diag},
    {"fork", try_fork},
    {"thread", try_thread},
    {"thread_read", try_thread_read},
    {"kill", try_kill},
    {"kill_self", try_kill_self},
    {"anonymous_code", try_anonymous_code},
    {"written_code", try_written_code},
    {"memfd", try_memfd},
    {"setuid", try_setuid},
    {"dumpable", try_dumpable},
    {"is_dumpable", try_is_dumpable},
    {"limit", try_limit},
    {"get_limit", try_get_limit},
    {"chown", try_chown},
    {"tiocsti", try_tiocsti},
    {"resolve", try_resolve},
};

/* As the gateway does it; argv[1] is not an option. */
static void enter(int argc, char **argv)
{
    struct config config;
    struct error err;
    struct sandbox_plan plan;
    struct sandbox_report report;
    enum command command = COMMAND_RUN;
    error_init(&err);
    bool done = config_set_up(&config, &err) &&
                config_from_command_line(&config, argc, argv, &command, &err) &&
                confine_plan(&plan, &config, &err) && sandbox_enter(&plan, &report, &err);
    if (!done) {
        fprintf(stderr, "%s\n", err.text);
        exit(3);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    char *word = argv[1];
    char *argument = strchr(word, '=');
    parent = getppid();
    if (argument != NULL)
        *argument++ = '\0';
    argv[1] = argv[0];
    enter(argc - 1, argv + 1);
    for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++) {
        if (strcmp(trials[i].name, word) != 0)
            continue;
        errno = 0;
        if (trials[i].run(argument != NULL ? argument : "") == 0)
            puts("ok");
        else
            printf("failed: %s\n", strerrorname_np(errno));
        return 0;
    }
    fprintf(stderr, "no such trial: %s\n", word);
    return 2;
}
