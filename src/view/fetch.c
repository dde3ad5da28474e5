#include "fetch.h"

#include "model.h"

#include <esclusa/str.h>

#include <curl/curl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 2000L
#define ANSWER_MS  5000L
#define BODY_MAX   ((size_t)16 << 20)

struct fetch {
    struct view_address address;
    CURLM *multi;
    CURL *easy;
    bool busy;
    struct text body;
    long status;
    bool too_large;
    char why[CURL_ERROR_SIZE];
};

static size_t on_body(char *bytes, size_t one, size_t count, void *context)
{
    struct fetch *f = context;
    const size_t length = one * count;
    if (length > BODY_MAX - f->body.length) {
        f->too_large = true;
        return 0; /* gives it up */
    }
    text_put(&f->body, bytes, length);
    return f->body.failed ? 0 : length;
}

static bool set_up(struct fetch *f)
{
    CURL *c = f->easy;
    CURLcode bad = curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    bad = bad != CURLE_OK ? bad : curl_easy_setopt(c, CURLOPT_WRITEDATA, (void *)f);
    bad = bad != CURLE_OK ? bad : curl_easy_setopt(c, CURLOPT_ERRORBUFFER, f->why);
    bad = bad != CURLE_OK ? bad : curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    bad = bad != CURLE_OK ? bad : curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
    bad = bad != CURLE_OK ? bad : curl_easy_setopt(c, CURLOPT_PROXY, "");
    bad = bad != CURLE_OK ? bad : curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    bad = bad != CURLE_OK ? bad : curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, ANSWER_MS);
    bad = bad != CURLE_OK ? bad : curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L);
    if (f->address.path[0] != '\0')
        bad = bad != CURLE_OK ? bad
                              : curl_easy_setopt(c,
                                                 f->address.abstract ? CURLOPT_ABSTRACT_UNIX_SOCKET
                                                                     : CURLOPT_UNIX_SOCKET_PATH,
                                                 f->address.path);
    return bad == CURLE_OK;
}

struct fetch *fetch_create(const struct view_address *address, struct error *err)
{
    struct fetch *f = calloc(1, sizeof *f);
    if (f != NULL && curl_global_init(CURL_GLOBAL_NOTHING) == CURLE_OK) {
        f->address = *address;
        f->multi = curl_multi_init();
        f->easy = curl_easy_init();
        if (f->multi != NULL && f->easy != NULL && set_up(f))
            return f;
    }
    (void)error_set(err, "cannot set up HTTP: no memory, or a libcurl without what is needed");
    fetch_destroy(&f);
    return NULL;
}

static void give_up(struct fetch *f)
{
    if (f->busy)
        (void)curl_multi_remove_handle(f->multi, f->easy);
    f->busy = false;
}

void fetch_destroy(struct fetch **fetch)
{
    struct fetch *f = *fetch;
    *fetch = NULL;
    if (f == NULL)
        return;
    give_up(f);
    curl_easy_cleanup(f->easy);
    (void)curl_multi_cleanup(f->multi);
    curl_global_cleanup();
    text_fini(&f->body);
    free(f);
}

bool fetch_begin(struct fetch *f, const char *path, struct error *err)
{
    char url[VIEW_BASE_MAX + 128];
    size_t length = 0;
    give_up(f);
    text_fini(&f->body);
    f->too_large = false;
    f->status = 0;
    f->why[0] = '\0';
    if (!str_append(url, sizeof url, &length, "%s%s", f->address.base, path) ||
        curl_easy_setopt(f->easy, CURLOPT_URL, url) != CURLE_OK ||
        curl_multi_add_handle(f->multi, f->easy) != CURLM_OK)
        return error_set(err, "cannot ask %s: no memory", f->address.text);
    f->busy = true;
    return true;
}

/* What libcurl says may quote the peer. */
static enum fetch_state failed(struct fetch *f, CURLcode code, struct error *err)
{
    char shown[CURL_ERROR_SIZE];
    const char *why = f->why[0] != '\0' ? f->why : curl_easy_strerror(code);
    str_escape(shown, sizeof shown, why, strnlen(why, CURL_ERROR_SIZE));
    if (f->too_large)
        (void)error_set(err, "cannot reach %s: its answer is larger than 16 MiB", f->address.text);
    else
        (void)error_set(err, "cannot reach %s: %s", f->address.text, shown);
    return FETCH_FAILED;
}

static enum fetch_state outcome(struct fetch *f, struct error *err)
{
    int left = 0;
    for (CURLMsg *m = curl_multi_info_read(f->multi, &left); m != NULL;
         m = curl_multi_info_read(f->multi, &left)) {
        if (m->msg != CURLMSG_DONE)
            continue;
        const CURLcode code = m->data.result;
        give_up(f);
        if (code != CURLE_OK)
            return failed(f, code, err);
        (void)curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &f->status);
        return FETCH_DONE;
    }
    return FETCH_BUSY;
}

enum fetch_state fetch_wait(struct fetch *f, const int *fds, bool *ready_r, size_t count,
                            int timeout_ms, struct error *err)
{
    struct curl_waitfd waited[FETCH_WAITED_MAX];
    int running = 0, woken = 0;
    for (size_t i = 0; i < count && i < FETCH_WAITED_MAX; i++)
        waited[i] = (struct curl_waitfd){.fd = fds[i], .events = CURL_WAIT_POLLIN};
    CURLMcode bad = curl_multi_perform(f->multi, &running);
    enum fetch_state state = bad == CURLM_OK && f->busy ? outcome(f, err) : FETCH_BUSY;
    if (bad == CURLM_OK)
        bad = curl_multi_poll(f->multi, waited, (unsigned)count,
                              state == FETCH_BUSY ? timeout_ms : 0, &woken);
    /* libcurl passes on POLLIN alone, and a terminal that is gone may say POLLHUP or POLLERR. */
    for (size_t i = 0; i < count && i < FETCH_WAITED_MAX; i++) {
        struct pollfd p = {.fd = fds[i], .events = POLLIN};
        ready_r[i] = poll(&p, 1, 0) > 0;
    }
    if (bad != CURLM_OK && f->busy) {
        give_up(f);
        (void)error_set(err, "cannot reach %s: %s", f->address.text, curl_multi_strerror(bad));
        return FETCH_FAILED;
    }
    return state;
}

long fetch_status(const struct fetch *f)
{
    return f->status;
}

const char *fetch_body(const struct fetch *f)
{
    return f->body.data != NULL ? f->body.data : "";
}

/* A refusal of the endpoint is one line of plain text. */
bool fetch_refused(const struct fetch *f, const char *address, struct error *err)
{
    char said[200];
    const char *body = fetch_body(f);
    if (f->status == 200)
        return false;
    view_clean(said, sizeof said, body, strcspn(body, "\r\n"));
    (void)error_set(err, "%s: %s (HTTP %ld)", address, said, f->status);
    return true;
}

bool fetch_now(struct fetch *f, const char *path, struct error *err)
{
    if (!fetch_begin(f, path, err))
        return false;
    enum fetch_state state;
    do {
        state = fetch_wait(f, NULL, NULL, 0, 1000, err);
    } while (state == FETCH_BUSY);
    return state == FETCH_DONE;
}
