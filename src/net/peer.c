/* Whose process is at the other end of a connection from this machine. */
#include <esclusa/net.h>

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_FEW   256
#define GROUPS_MAX   65536 /* NGROUPS_MAX of Linux */
#define ANSWER_BYTES 8192

bool sock_peer_user(int fd, uid_t *uid_r, gid_t *gid_r)
{
    struct ucred who;
    socklen_t length = sizeof(who);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) != 0)
        return false;
    *uid_r = who.uid;
    *gid_r = who.gid;
    return true;
}

static bool have_common(const gid_t *a, size_t a_count, const gid_t *b, size_t b_count)
{
    for (size_t i = 0; i < a_count; i++)
        for (size_t k = 0; k < b_count; k++)
            if (a[i] == b[k])
                return true;
    return false;
}

bool sock_peer_in_group(int fd, const gid_t *groups, size_t count)
{
    gid_t few[GROUPS_FEW], *of_peer = few;
    socklen_t length = sizeof(few);
    int got = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, of_peer, &length);
    if (got != 0 && errno == ERANGE && length <= GROUPS_MAX * sizeof(gid_t)) {
        of_peer = malloc(length); /* hardly anybody is in so many */
        got = of_peer == NULL ? -1 : getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, of_peer, &length);
    }
    const bool in = got == 0 && have_common(of_peer, length / sizeof(gid_t), groups, count);
    if (of_peer != few)
        free(of_peer);
    return in;
}

/* ---- sock_diag(7) ---- */

struct question {
    struct nlmsghdr header;
    struct inet_diag_req_v2 ask;
};

static bool put_end(const struct net_addr *a, __be32 address[4], __be16 *port)
{
    if (a->u.sa.sa_family == AF_INET) {
        memcpy(address, &a->u.in.sin_addr, sizeof(a->u.in.sin_addr));
        *port = a->u.in.sin_port;
        return true;
    }
    if (a->u.sa.sa_family != AF_INET6)
        return false;
    memcpy(address, &a->u.in6.sin6_addr, sizeof(a->u.in6.sin6_addr));
    *port = a->u.in6.sin6_port;
    return true;
}

/* The one socket with those ends, whatever its state. */
static bool put_question(struct question *q, const struct net_addr *from, const struct net_addr *to)
{
    memset(q, 0, sizeof(*q));
    q->header.nlmsg_len = sizeof(*q);
    q->header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    q->header.nlmsg_flags = NLM_F_REQUEST;
    q->ask.sdiag_family = (__u8)from->u.sa.sa_family;
    q->ask.sdiag_protocol = IPPROTO_TCP;
    q->ask.idiag_states = ~0U;
    q->ask.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
    q->ask.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    return put_end(from, q->ask.id.idiag_src, &q->ask.id.idiag_sport) &&
           put_end(to, q->ask.id.idiag_dst, &q->ask.id.idiag_dport);
}

/* The answer is a message of its own type, or the error that there is none. A socket that its
 * process has closed has no inode, and root for its user, whose ever it was; and where no
 * connection has those ends, the kernel answers with who listens on the port. */
static bool read_answer(const struct question *q, const void *answer, size_t size, uid_t *uid_r)
{
    struct nlmsghdr header;
    struct inet_diag_msg found;
    if (size < sizeof(header))
        return false;
    memcpy(&header, answer, sizeof(header));
    if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || size < NLMSG_HDRLEN + sizeof(found))
        return false;
    memcpy(&found, (const char *)answer + NLMSG_HDRLEN, sizeof(found));
    if (found.idiag_inode == 0 || found.id.idiag_sport != q->ask.id.idiag_sport ||
        found.id.idiag_dport != q->ask.id.idiag_dport)
        return false;
    *uid_r = found.idiag_uid;
    return true;
}

bool sock_owner(const struct net_addr *of, const struct net_addr *to, uid_t *uid_r)
{
    struct question q;
    char answer[ANSWER_BYTES];
    if (!put_question(&q, of, to))
        return false;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return false;
    /* The kernel answers within send(2): what recv(2) finds is all there will be. */
    ssize_t got = -1;
    if (send(fd, &q, sizeof(q), 0) == (ssize_t)sizeof(q))
        got = recv(fd, answer, sizeof(answer), 0);
    sock_close(fd);
    return got > 0 && read_answer(&q, answer, (size_t)got, uid_r);
}
