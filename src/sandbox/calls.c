/* The system calls of a gateway that serves, each group with its reason. A name that an
 * architecture, or the libseccomp at hand, does not know is passed over. Generous to the C library:
 * another version of it may do the same thing by another call. */
#include "sandbox_internal.h"

#include <string.h>

const struct call_group calls_allowed[] = {
    {"bytes", "what sessions and the log are made of",
     "read write readv writev pread64 pwrite64 preadv pwritev recvfrom recvmsg recvmmsg sendto "
     "sendmsg sendmmsg recv send close close_range shutdown"},
    {"waiting", "event loops, helper threads, libmicrohttpd, getaddrinfo, c-ares",
     "epoll_create1 epoll_create epoll_ctl epoll_wait epoll_pwait epoll_pwait2 poll ppoll select "
     "_newselect pselect6 eventfd2 timerfd_create timerfd_settime timerfd_gettime nanosleep "
     "clock_nanosleep pause"},
    {"sockets", "accept, connect, and what a reload listens on; socket itself is filtered",
     "accept accept4 bind connect listen getsockname getpeername getsockopt setsockopt"},
    {"threads",
     "workers, resolver, admin and log threads, the launcher's end; clone itself is filtered",
     "futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue set_robust_list "
     "get_robust_list set_tid_address rseq sched_yield sched_getaffinity sched_getparam "
     "sched_getscheduler membarrier gettid getcpu restart_syscall exit exit_group arch_prctl wait4 "
     "waitid "
     "waitpid"},
    {"memory", "malloc, stacks, OpenSSL's secure heap; mmap and mprotect are filtered",
     "brk munmap mremap madvise mlock mlock2 munlock mincore"},
    {"files", "reading at a reload, the log, unix sockets; which ones: Landlock and file modes",
     "open openat openat2 stat stat64 lstat lstat64 fstat fstat64 newfstatat fstatat64 statx "
     "statfs statfs64 fstatfs fstatfs64 access faccessat faccessat2 readlink readlinkat "
     "getdents getdents64 lseek _llseek fcntl fcntl64 flock dup dup2 dup3 pipe2 getcwd fadvise64 "
     "ftruncate ftruncate64 fsync fdatasync unlink unlinkat rename renameat renameat2 mkdir "
     "mkdirat rmdir chmod fchmod fchmodat fchmodat2 umask utimensat"},
    {"signals", "signalfd, abort, thread ends; kill and tgkill are filtered",
     "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait rt_sigpending sigaltstack "
     "sigreturn signalfd4"},
    {"time", "where the vDSO does not answer",
     "clock_gettime clock_gettime64 clock_getres clock_getres_time64 gettimeofday time"},
    {"itself", "who and how it is: OpenSSL, the C library, metrics",
     "getpid getppid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp getpgid "
     "getsid capget uname sysinfo getrusage times getrandom getrlimit ugetrlimit getpriority"},
    {NULL, NULL, NULL}};

const struct call_group calls_filtered[] = {
    {"socket", "unix, IPv4 and IPv6, streams and datagrams; netlink for routes and sock_diag",
     "socket"},
    {"socketpair", "unix only", "socketpair"},
    {"clone", "threads only: no other process is made", "clone"},
    {"mmap, mprotect", "no memory that is writable and executable, or becomes executable",
     "mmap mmap2 mprotect"},
    {"prctl", "names of threads and memory, and questions", "prctl"},
    {"ioctl", "FIONREAD, FIONBIO, SIOCOUTQ, the terminal's size, names of network interfaces",
     "ioctl"},
    {"kill, tgkill", "this process only", "kill tgkill"},
    {"prlimit64", "limits are read, not changed", "prlimit64"},
    {NULL, NULL, NULL}};

const struct call_group calls_fatal[] = {
    {"other programs", "it starts none", "execve execveat"},
    {"other processes' memory", "it debugs none",
     "ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd"},
    {"the kernel", "it does not administer the machine",
     "bpf perf_event_open userfaultfd init_module finit_module delete_module kexec_load "
     "kexec_file_load reboot syslog iopl ioperm modify_ldt swapon swapoff acct quotactl "
     "settimeofday clock_settime clock_settime64 adjtimex clock_adjtime clock_adjtime64 "
     "sethostname setdomainname"},
    {"mounts and namespaces", "it lives where it was put",
     "mount umount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick "
     "mount_setattr setns unshare open_by_handle_at"},
    {NULL, NULL, NULL}};

const struct call_group calls_refused[] = {
    {"other processes", "none is made", "fork vfork"},
    {"credentials", "they have been dropped for good",
     "setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid "
     "setresuid32 setresgid setresgid32 setgroups setgroups32 setfsuid setfsuid32 setfsgid "
     "setfsgid32 capset"},
    {"files of others", "nothing is given another owner, linked or made a device",
     "chown chown32 fchown fchown32 lchown lchown32 fchownat link linkat symlink symlinkat mknod "
     "mknodat setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr memfd_create "
     "memfd_secret"},
    {"shared memory and messages", "threads share all they need to",
     "shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl "
     "mq_open"},
    {"limits and scheduling", "set before it serves",
     "setrlimit sched_setaffinity sched_setscheduler sched_setparam sched_setattr setpriority "
     "ioprio_set personality setsid setpgid rt_sigqueueinfo rt_tgsigqueueinfo tkill "
     "pidfd_send_signal pidfd_open"},
    {"the kernel's key rings, handles, rings", "of no use to it; libraries may ask",
     "keyctl add_key request_key name_to_handle_at kcmp io_uring_setup io_uring_enter "
     "io_uring_register"},
    {"what confines it", "it has been done once",
     "seccomp landlock_create_ruleset "
     "landlock_add_rule landlock_restrict_self"},
    {NULL, NULL, NULL}};

bool call_next(const struct call_group *group, size_t *at, char name[CALL_NAME_MAX])
{
    const char *p = group->names + *at;
    p += strspn(p, " ");
    size_t length = strcspn(p, " ");
    if (length == 0 || length >= CALL_NAME_MAX)
        return false;
    memcpy(name, p, length);
    name[length] = '\0';
    *at = (size_t)(p - group->names) + length;
    return true;
}
