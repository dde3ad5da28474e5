/* The program, started anew by a process that still may. */
#include <esclusa/launcher.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct answer {
    pid_t pid;
    int failed; /* errno; 0: it runs */
};

/* What is said on the way to a new process: its number, and why it failed. */
struct note {
    pid_t pid; /* 0: not what this note is about */
    int failed;
};

/* What it was made for. */
struct purpose {
    const char *path;
    char *const *argv;
    const char *const *variables;
};

struct request {
    char text[LAUNCHER_TEXT_MAX]; /* "NAME=VALUE\0NAME=VALUE\0" */
    size_t length;
    int descriptors[LAUNCHER_DESCRIPTORS_MAX];
    size_t count;
};

/* ---- in the new process, between fork and exec ---- */

/* To LAUNCHER_FIRST and up, and not close-on-exec. */
static bool put_descriptors(const struct request *r, int *report)
{
    int above = LAUNCHER_FIRST + (int)r->count;
    int moved[LAUNCHER_DESCRIPTORS_MAX];
    int kept = fcntl(*report, F_DUPFD_CLOEXEC, above);
    if (kept < 0)
        return false;
    *report = kept;
    for (size_t i = 0; i < r->count; i++) {
        moved[i] = fcntl(r->descriptors[i], F_DUPFD_CLOEXEC, above);
        if (moved[i] < 0)
            return false;
    }
    for (size_t i = 0; i < r->count; i++) {
        if (dup2(moved[i], LAUNCHER_FIRST + (int)i) < 0)
            return false;
    }
    /* All else goes at exec: every other descriptor here is close-on-exec. */
    return true;
}

static bool is_permitted(const struct purpose *p, const char *name)
{
    for (size_t i = 0; p->variables[i] != NULL; i++) {
        if (strcmp(p->variables[i], name) == 0)
            return true;
    }
    errno = EPERM;
    return false;
}

static bool set_environment(const struct request *r, const struct purpose *p)
{
    char number[24];
    for (size_t at = 0; at < r->length;) {
        char name[256];
        const char *text = r->text + at;
        size_t length = strcspn(text, "=");
        if (text[length] != '=' || length == 0 || length >= sizeof name)
            return false;
        memcpy(name, text, length);
        name[length] = '\0';
        if (!is_permitted(p, name) || setenv(name, text + length + 1, 1) != 0)
            return false;
        at += strlen(text) + 1;
    }
    snprintf(number, sizeof number, "%ld", (long)getpid());
    return setenv("LISTEN_PID", number, 1) == 0;
}

static void restore_signals(void)
{
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL); /* not those that cannot be: SIGKILL, SIGSTOP */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(const struct request *r, const struct purpose *p, int report)
{
    restore_signals();
    if (put_descriptors(r, &report) && set_environment(r, p))
        execv(p->path, p->argv);
    const struct note note = {.failed = errno != 0 ? errno : EINVAL};
    (void)!write(report, &note, sizeof note);
    _exit(127);
}

/* Forks once more and ends, so that the new process is nobody's child but init's, from the start: a
 * service manager learns of its end, though this launcher is still there. */
static _Noreturn void beget(const struct request *r, const struct purpose *p, int report)
{
    struct note note = {.pid = fork()};
    if (note.pid == 0)
        become(r, p, report);
    if (note.pid < 0)
        note = (struct note){.failed = errno};
    (void)!write(report, &note, sizeof note);
    _exit(0);
}

/* ---- in the launcher ---- */

static struct answer start(const struct request *r, const struct purpose *p)
{
    struct answer answer = {.pid = -1};
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) {
        answer.failed = errno;
        return answer;
    }
    pid_t middle = fork();
    if (middle == 0)
        beget(r, p, report[1]);
    answer.failed = middle < 0 ? errno : 0;
    close(report[1]);
    struct note note; /* no second one comes when exec closed it: it runs */
    while (middle > 0 && read(report[0], &note, sizeof note) == (ssize_t)sizeof note) {
        answer.pid = note.pid > 0 ? note.pid : answer.pid;
        answer.failed = note.failed != 0 ? note.failed : answer.failed;
    }
    close(report[0]);
    if (answer.pid < 0 && answer.failed == 0)
        answer.failed = ECHILD; /* the one in the middle was killed */
    return answer;
}

/* False: the gateway has ended. */
static bool receive(int fd, struct request *r)
{
    char control[CMSG_SPACE(sizeof r->descriptors)];
    struct iovec text = {r->text, sizeof r->text - 1};
    struct msghdr m = {.msg_iov = &text,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    ssize_t length;
    do {
        length = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    } while (length < 0 && errno == EINTR);
    r->count = 0;
    if (length <= 0)
        return false;
    r->length = (size_t)length - 1; /* one byte more is sent, so that none is empty */
    r->text[r->length] = '\0';
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        r->count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(r->descriptors, CMSG_DATA(c), r->count * sizeof(int));
    }
    return true;
}

static _Noreturn void serve(int fd, const struct purpose *p)
{
    static struct request r;
    (void)prctl(PR_SET_NAME,
                "esclusa-starter"); /* for ps(1): two of a name are taken for workers */
    (void)signal(SIGCHLD, SIG_IGN); /* no zombies: wait(2) */
    while (receive(fd, &r)) {
        struct answer answer = start(&r, p);
        for (size_t i = 0; i < r.count; i++)
            close(r.descriptors[i]);
        if (send(fd, &answer, sizeof answer, MSG_NOSIGNAL) != (ssize_t)sizeof answer)
            break;
    }
    _exit(0);
}

/* Listening sockets of a service manager and the like are not for it to hold open. */
static void close_all_but(int fd)
{
    if (fd > LAUNCHER_FIRST)
        (void)close_range(LAUNCHER_FIRST, (unsigned)fd - 1, 0);
    (void)close_range((unsigned)fd + 1, UINT_MAX, 0);
}

/* ---- in the gateway ---- */

bool launcher_start(struct launcher *l, const char *path, char *const argv[],
                    const char *const variables[], struct error *err)
{
    char self[PATH_MAX];
    int pair[2];
    l->fd = -1;
    l->pid = -1;
    if (path == NULL) {
        ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
        if (length <= 0)
            return error_set_errno(err, errno, "/proc/self/exe");
        self[length] = '\0';
        path = self;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return error_set_errno(err, errno, "socketpair");
    /* A terminal's or a service manager's signals are for the gateway; its end is ours. From the
     * first instant on. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    l->pid = fork();
    if (l->pid == 0) {
        close_all_but(pair[1]);
        serve(pair[1], &(struct purpose){path, argv, variables});
    }
    int why = errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    close(pair[1]);
    if (l->pid < 0) {
        close(pair[0]);
        return error_set_errno(err, why, "fork");
    }
    l->fd = pair[0];
    return true;
}

static bool pack(const char *const environment[], char text[LAUNCHER_TEXT_MAX], size_t *length_r)
{
    size_t length = 0;
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
        size_t more = strlen(environment[i]) + 1;
        if (length + more > LAUNCHER_TEXT_MAX - 2)
            return false;
        memcpy(text + length, environment[i], more);
        length += more;
    }
    text[length++] = '\0';
    *length_r = length;
    return true;
}

static bool ask(int fd, const char *text, size_t length, const int *descriptors, size_t count)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(LAUNCHER_DESCRIPTORS_MAX * sizeof(int))];
    char copy[LAUNCHER_TEXT_MAX];
    memcpy(copy, text, length);
    struct iovec part = {copy, length};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        memset(control, 0, sizeof control);
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), descriptors, count * sizeof(int));
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)length;
}

bool launcher_run(struct launcher *l, const int *descriptors, size_t count,
                  const char *const environment[], pid_t *pid_r, struct error *err)
{
    char text[LAUNCHER_TEXT_MAX];
    size_t length = 0;
    struct answer answer;
    if (l->fd < 0)
        return error_set(err, "there is no launcher");
    if (count > LAUNCHER_DESCRIPTORS_MAX)
        return error_set(err, "%zu descriptors: more than %d cannot be handed over", count,
                         LAUNCHER_DESCRIPTORS_MAX);
    if (!pack(environment, text, &length))
        return error_set(err, "too much to hand over in the environment");
    if (!ask(l->fd, text, length, descriptors, count))
        return error_set_errno(err, errno, "the launcher does not take a request");
    ssize_t got;
    do {
        got = recv(l->fd, &answer, sizeof answer, 0);
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof answer)
        return error_set(err, "the launcher has ended");
    if (answer.failed != 0)
        return error_set_errno(err, answer.failed, "the program cannot be started");
    *pid_r = answer.pid;
    return true;
}

void launcher_stop(struct launcher *l)
{
    if (l->fd < 0)
        return;
    close(l->fd);
    (void)waitpid(l->pid, NULL, 0);
    l->fd = -1;
    l->pid = -1;
}
