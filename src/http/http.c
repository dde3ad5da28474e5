/* The server: connections are accepted here and given to libmicrohttpd, so that what bounds them is
 * in one place: how many, for how long, and which goes when there are too many. This is the only
 * file that knows that library. */
#include <esclusa/http.h>

#include <esclusa/clock.h>
#include <esclusa/net.h>

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SWEEP_MS 250 /* how often deadlines are looked at */
#define LAST_MS  300 /* at the end */
#define REST_MS  100 /* no descriptor: try again then */
#define STACK    ((size_t)512 * 1024)

#define NOT_FOUND                                                                                  \
    "not found; there are /healthz, /readyz, /metrics, /status, /sessions, /failures\n"

struct place {
    int fd; /* -1: free */
    bool cut;
    uint64_t number; /* the lower, the older: many may come within a millisecond */
    int64_t since_ms;
};

struct http_server {
    struct MHD_Daemon *daemon;
    const struct http_route *routes;
    void *context;
    pthread_t thread;
    int listen_fd, wake_fd, epoll_fd;
    atomic_bool stopping;
    int64_t rests_until_ms;
    uint64_t accepted;
    struct place places[HTTP_CONNECTIONS_MAX];
};

struct http_request {
    struct MHD_Connection *connection;
    size_t body; /* bytes of it that came */
};

const char *http_query(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* ---- answers ---- */

static enum MHD_Result send_answer(struct MHD_Connection *connection, struct http_answer *a,
                                   const char *allow)
{
    if (a->body.failed) {
        text_fini(&a->body);
        a->status = MHD_HTTP_SERVICE_UNAVAILABLE;
        a->type = HTTP_PLAIN;
        text_add(&a->body, "no memory\n");
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        a->body.length, a->body.data, MHD_RESPMEM_MUST_FREE); /* data NULL: empty */
    if (response == NULL) {
        text_fini(&a->body);
        return MHD_NO;
    }
    memset(&a->body, 0, sizeof a->body); /* the response has it */
    (void)MHD_add_response_header(response, "Content-Type", a->type);
    (void)MHD_add_response_header(response, "Connection", "close");
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (allow != NULL)
        (void)MHD_add_response_header(response, "Allow", allow);
    enum MHD_Result queued = MHD_queue_response(connection, a->status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *text,
                              const char *allow)
{
    struct http_answer a = {.status = status, .type = HTTP_PLAIN};
    text_add(&a.body, "%s", text);
    return send_answer(connection, &a, allow);
}

static const struct http_route *find(const struct http_server *s, const char *path)
{
    for (const struct http_route *r = s->routes; r->path != NULL; r++) {
        if (strcmp(r->path, path) == 0)
            return r;
    }
    return NULL;
}

/* A page of some web site can make the browser beside it post to a loopback address, but then says
 * where it is from (Fetch, 3.1 and RFC 6454 7). */
static bool from_a_page(struct MHD_Connection *connection)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin") != NULL;
}

static enum MHD_Result answer(struct http_server *s, struct http_request *request, const char *path,
                              const char *method)
{
    struct MHD_Connection *connection = request->connection;
    const struct http_route *route = find(s, path);
    if (route == NULL)
        return refuse(connection, MHD_HTTP_NOT_FOUND, NOT_FOUND, NULL);
    bool post = strcmp(method, "POST") == 0;
    bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (route->post ? !post : !get)
        return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                      route->post ? "method not allowed: POST it\n"
                                  : "method not allowed: GET it\n",
                      route->post ? "POST" : "GET, HEAD");
    if (route->post && from_a_page(connection))
        return refuse(connection, MHD_HTTP_FORBIDDEN, "not for web pages\n", NULL);
    struct http_answer a = {.status = MHD_HTTP_OK, .type = HTTP_PLAIN};
    route->serve(s->context, request, &a);
    return send_answer(connection, &a, NULL);
}

/* Called with the head first, then with each piece of the body, then with none. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *piece,
                                  size_t *piece_size, void **state)
{
    (void)version;
    (void)piece;
    struct http_request *request = *state;
    if (request == NULL) {
        request = calloc(1, sizeof *request);
        if (request == NULL)
            return MHD_NO;
        request->connection = connection;
        *state = request;
        return MHD_YES;
    }
    if (*piece_size > 0) {
        request->body += *piece_size;
        *piece_size = 0;
        return request->body > HTTP_BODY_MAX ? MHD_NO : MHD_YES;
    }
    return answer(context, request, url, method);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    (void)context;
    (void)connection;
    (void)why;
    free(*state);
    *state = NULL;
}

/* ---- connections ---- */

static struct place *place_of(struct http_server *s, int fd)
{
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        if (s->places[i].fd == fd)
            return &s->places[i];
    }
    return NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = context;
    (void)state;
    if (what != MHD_CONNECTION_NOTIFY_CLOSED)
        return;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct place *p = info == NULL ? NULL : place_of(s, info->connect_fd);
    if (p != NULL)
        p->fd = -1;
}

/* The library notices, closes it and says so. */
static void cut(struct place *p)
{
    p->cut = true;
    (void)shutdown(p->fd, SHUT_RDWR);
}

static void sweep(struct http_server *s)
{
    int64_t now = clock_ms();
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        struct place *p = &s->places[i];
        if (p->fd >= 0 && !p->cut && now - p->since_ms >= HTTP_CONNECTION_MS)
            cut(p);
    }
}

static void cut_oldest(struct http_server *s)
{
    struct place *oldest = NULL;
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        struct place *p = &s->places[i];
        if (p->fd >= 0 && p->cut)
            return; /* one is on its way out */
        if (p->fd >= 0 && (oldest == NULL || p->number < oldest->number))
            oldest = p;
    }
    if (oldest != NULL)
        cut(oldest);
}

static void take(struct http_server *s)
{
    for (int taken = 0; taken < HTTP_CONNECTIONS_MAX; taken++) {
        struct place *p = place_of(s, -1);
        if (p == NULL) {
            if (taken == 0) /* somebody waits, and gets the place in a later turn */
                cut_oldest(s);
            return;
        }
        int fd = -1, why = 0;
        struct net_addr peer;
        enum accept_status status = listener_accept(s->listen_fd, &fd, &peer, &why);
        if (status == ACCEPT_LIMIT || status == ACCEPT_BROKEN)
            s->rests_until_ms = clock_ms() + REST_MS;
        if (status != ACCEPT_OK && status != ACCEPT_RETRY)
            return;
        if (status == ACCEPT_RETRY)
            continue;
        *p = (struct place){.fd = fd, .number = s->accepted++, .since_ms = clock_ms()};
        if (MHD_add_connection(s->daemon, fd, &peer.u.sa, peer.length) != MHD_YES)
            p->fd = -1; /* and it is closed */
    }
}

/* ---- the thread ---- */

static int wait_ms(const struct http_server *s)
{
    MHD_UNSIGNED_LONG_LONG own = 0;
    if (MHD_get_timeout(s->daemon, &own) == MHD_YES && own < SWEEP_MS)
        return (int)own;
    return SWEEP_MS;
}

static bool is_idle(const struct http_server *s)
{
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        if (s->places[i].fd >= 0)
            return false;
    }
    return true;
}

static void *serve(void *context)
{
    struct http_server *s = context;
    int64_t ends_ms = CLOCK_NEVER; /* those that were accepted may have their answer first */
    while (clock_ms() < ends_ms) {
        bool stops = atomic_load(&s->stopping);
        if (stops && is_idle(s))
            break;
        if (stops && ends_ms == CLOCK_NEVER)
            ends_ms = clock_ms() + LAST_MS;
        bool rests = stops || clock_ms() < s->rests_until_ms;
        struct pollfd fds[] = {{.fd = stops ? -1 : s->wake_fd, .events = POLLIN},
                               {.fd = s->epoll_fd, .events = POLLIN},
                               {.fd = rests ? -1 : s->listen_fd, .events = POLLIN}};
        (void)poll(fds, 3, wait_ms(s));
        if (fds[2].revents != 0)
            take(s);
        (void)MHD_run(s->daemon);
        sweep(s);
    }
    return NULL;
}

static bool start_thread(struct http_server *s, struct error *err)
{
    pthread_attr_t attributes;
    int why = pthread_attr_init(&attributes);
    if (why == 0) {
        (void)pthread_attr_setstacksize(&attributes, STACK);
        why = pthread_create(&s->thread, &attributes, serve, s);
        (void)pthread_attr_destroy(&attributes);
    }
    if (why != 0)
        return error_set_errno(err, why, "cannot start the admin thread");
    return true;
}

static struct MHD_Daemon *start_daemon(struct http_server *s)
{
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request, s,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX,
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(HTTP_CONNECTION_MS / 1000),
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_HEAD_MAX,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
                            MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_END);
}

static void free_server(struct http_server *s)
{
    if (s->daemon != NULL)
        MHD_stop_daemon(s->daemon);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    free(s);
}

struct http_server *http_server_create(int listen_fd, const struct http_route *routes,
                                       void *context, struct error *err)
{
    struct http_server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        error_set(err, "no memory for the admin endpoint");
        return NULL;
    }
    s->listen_fd = listen_fd;
    s->routes = routes;
    s->context = context;
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++)
        s->places[i].fd = -1;
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->daemon = s->wake_fd < 0 ? NULL : start_daemon(s);
    const union MHD_DaemonInfo *info =
        s->daemon == NULL ? NULL : MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info != NULL)
        s->epoll_fd = info->epoll_fd;
    else
        error_set(err, "cannot start the admin endpoint: no memory or descriptors");
    if (info == NULL || !start_thread(s, err)) {
        free_server(s);
        return NULL;
    }
    return s;
}

void http_server_destroy(struct http_server **server)
{
    struct http_server *s = *server;
    *server = NULL;
    if (s == NULL)
        return;
    atomic_store(&s->stopping, true);
    uint64_t one = 1;
    ssize_t written = write(s->wake_fd, &one, sizeof one);
    (void)written;
    pthread_join(s->thread, NULL);
    free_server(s);
}
