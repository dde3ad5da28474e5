/* http: a small HTTP/1.1 server (RFC 9112) for a few people and probes, not for the public. It runs
 * in one thread of its own and answers one request after another; it knows nothing of what it
 * serves.
 *
 * Bounded, whatever a client does: HTTP_CONNECTIONS_MAX connections, the oldest of which is cut
 * when one more comes; HTTP_CONNECTION_MS for a connection as a whole; HTTP_HEAD_MAX for a head;
 * HTTP_BODY_MAX for a body, which is read and dropped; one request a connection. */
#ifndef ESCLUSA_HTTP_H
#define ESCLUSA_HTTP_H

#include <esclusa/error.h>
#include <esclusa/text.h>

#include <stdint.h>

#define HTTP_CONNECTIONS_MAX 12
#define HTTP_CONNECTION_MS   10000
#define HTTP_HEAD_MAX        8192
#define HTTP_BODY_MAX        65536
/* All that a server may have open: connections, one that is being accepted, its epoll, a waker. */
#define HTTP_DESCRIPTORS (HTTP_CONNECTIONS_MAX + 3)

#define HTTP_JSON       "application/json"
#define HTTP_PLAIN      "text/plain; charset=utf-8"
#define HTTP_PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"

struct http_server;
struct http_request;

struct http_answer {
    unsigned status;  /* 200 unless it is changed */
    const char *type; /* one of the above; HTTP_PLAIN unless it is changed */
    struct text body;
};

/* The value of ?name= of the request, NULL when it is not there; lives as long as the request. */
const char *http_query(const struct http_request *request, const char *name);

/* A path has one method; GET is also HEAD. */
struct http_route {
    const char *path;
    bool post;
    /* On the server's thread; may block, as the next request then waits. */
    void (*serve)(void *context, const struct http_request *request, struct http_answer *answer);
};

/* Serves what comes to the listening descriptor, which stays the caller's, non-blocking. routes:
 * end with a NULL path, and live as long as the server. NULL: no memory or no thread. */
struct http_server *http_server_create(int listen_fd, const struct http_route *routes,
                                       void *context, struct error *err) WARN_UNUSED;
/* From any thread but its own: nothing is accepted any more; waits for what is being answered, and
 * some hundred milliseconds for those that were accepted. */
void http_server_destroy(struct http_server **server);

#endif
