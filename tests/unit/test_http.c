/* The HTTP server by itself: routes, methods, and its bounds. What hostile clients do to it is in
 * tests/e2e/test_admin.py. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <esclusa/http.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct world {
    int listener;
    uint16_t port;
    struct http_server *server;
    unsigned served;
};

static void hello(void *context, const struct http_request *request, struct http_answer *answer)
{
    struct world *w = context;
    const char *name = http_query(request, "name");
    w->served++;
    answer->type = HTTP_JSON;
    text_add(&answer->body, "hello %s\n", name != NULL ? name : "nobody");
}

static void order(void *context, const struct http_request *request, struct http_answer *answer)
{
    (void)context;
    (void)request;
    answer->status = 202;
}

static void broken(void *context, const struct http_request *request, struct http_answer *answer)
{
    (void)context;
    (void)request;
    text_add(&answer->body, "half an ans");
    answer->body.failed = true;
}

static const struct http_route routes[] = {{"/hello", false, hello},
                                           {"/order", true, order},
                                           {"/broken", false, broken},
                                           {NULL, false, NULL}};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    struct error err;
    error_init(&err);
    assert_non_null(w);
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(w->listener, 64), 0);
    assert_int_equal(getsockname(w->listener, (struct sockaddr *)&at, &length), 0);
    w->port = ntohs(at.sin_port);
    w->server = http_server_create(w->listener, routes, w, &err);
    assert_non_null(w->server);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    http_server_destroy(&w->server);
    assert_null(w->server);
    close(w->listener);
    free(w);
    return 0;
}

static int dial(const struct world *w)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(w->port)};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* All that is answered to one request, until the server closes. */
static const char *ask(const struct world *w, const char *request)
{
    static char answer[4096];
    size_t length = 0;
    int fd = dial(w);
    assert_int_equal(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
    for (;;) {
        ssize_t got = recv(fd, answer + length, sizeof answer - 1 - length, 0);
        assert_true(got >= 0);
        if (got == 0)
            break;
        length += (size_t)got;
    }
    close(fd);
    answer[length] = '\0';
    return answer;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void routes_and_methods(void **state)
{
    struct world *w = *state;
    const char *got = ask(w, "GET /hello?name=you HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_has(got, "HTTP/1.1 200 ");
    assert_has(got, "\r\nConnection: close\r\n"); /* and it was: ask() has ended */
    assert_has(got, "application/json");
    assert_has(got, "\r\n\r\nhello you\n");
    assert_has(ask(w, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), "hello nobody\n");
    got = ask(w, "HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_has(got, "Content-Length: 13\r\n");
    assert_null(strstr(got, "hello"));
    assert_int_equal(w->served, 3);
    got = ask(w, "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_has(got, "HTTP/1.1 405 ");
    assert_has(got, "\r\nAllow: GET, HEAD\r\n");
    assert_has(ask(w, "GET /order HTTP/1.1\r\nHost: x\r\n\r\n"), "\r\nAllow: POST\r\n");
    assert_has(ask(w, "POST /order HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"),
               "HTTP/1.1 202 ");
    assert_has(ask(w, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 404 ");
    assert_has(ask(w, "POST /order HTTP/1.1\r\nHost: x\r\nOrigin: null\r\n\r\n"), "HTTP/1.1 403 ");
    assert_int_equal(w->served, 3);
}

static void half_an_answer_is_none(void **state)
{
    const char *got = ask(*state, "GET /broken HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_has(got, "HTTP/1.1 503 ");
    assert_null(strstr(got, "half"));
}

static void the_oldest_makes_room(void **state)
{
    int idle[2 * HTTP_CONNECTIONS_MAX];
    const int count = 2 * HTTP_CONNECTIONS_MAX;
    for (int i = 0; i < count; i++)
        idle[i] = dial(*state);
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_has(ask(*state, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), "hello nobody");
    clock_gettime(CLOCK_MONOTONIC, &after);
    /* Not because their time was over. */
    assert_true(after.tv_sec - before.tv_sec < HTTP_CONNECTION_MS / 1000 - 2);
    char byte;
    assert_true(recv(idle[0], &byte, 1, 0) <= 0);                        /* cut */
    assert_int_equal(recv(idle[count - 1], &byte, 1, MSG_DONTWAIT), -1); /* still open */
    for (int i = 0; i < count; i++)
        close(idle[i]);
}

static void ends_with_clients_at_it(void **state)
{
    struct world *w = *state;
    int idle = dial(w), half = dial(w);
    assert_int_equal(send(half, "GET /hel", 8, 0), 8);
    assert_has(ask(w, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), "hello");
    http_server_destroy(&w->server); /* and nothing is left: LeakSanitizer */
    char byte;
    assert_true(recv(idle, &byte, 1, 0) <= 0);
    assert_true(recv(half, &byte, 1, 0) <= 0);
    close(idle);
    close(half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(routes_and_methods, set_up, tear_down),
        cmocka_unit_test_setup_teardown(half_an_answer_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_oldest_makes_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ends_with_clients_at_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
