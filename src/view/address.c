#include "address.h"

#include <esclusa/str.h>

#include <ctype.h>
#include <string.h>

#define UNIX "unix:"

static bool refuse(const char *text, struct error *err)
{
    char shown[160];
    str_escape(shown, sizeof shown, text, strlen(text));
    return error_set(
        err, "--admin: \"%s\" is no address: HOST:PORT, PORT, unix:/path or unix:@name", shown);
}

static bool parse_unix(struct view_address *a, const char *text, struct error *err)
{
    const char *path = text + strlen(UNIX);
    a->abstract = path[0] == '@';
    if ((path[0] != '/' && !a->abstract) || path[1] == '\0')
        return refuse(text, err);
    if (!str_copy(a->path, sizeof a->path, path + (a->abstract ? 1 : 0)))
        return error_set(err, "--admin: a socket's path has at most %d bytes", VIEW_PATH_MAX - 1);
    (void)str_copy(a->text, sizeof a->text, text);
    (void)str_copy(a->base, sizeof a->base, "http://localhost");
    return true;
}

/* Nothing that would end the host in a URL: RFC 3986, 3.2. */
static bool is_host(const char *text, size_t length)
{
    const bool literal = length > 2 && text[0] == '[' && text[length - 1] == ']';
    const size_t from = literal ? 1 : 0;
    for (size_t i = from; i < length - from; i++) {
        const char c = text[i];
        if (!isalnum((unsigned char)c) && strchr("-._", c) == NULL && !(literal && c == ':'))
            return false;
    }
    return length > 0;
}

bool view_address_parse(struct view_address *a, const char *text, struct error *err)
{
    uint64_t port = 0;
    size_t length = 0;
    memset(a, 0, sizeof *a);
    if (strncmp(text, UNIX, strlen(UNIX)) == 0)
        return parse_unix(a, text, err);
    if (strncmp(text, "tcp://", 6) == 0)
        text += 6;
    const char *colon = strrchr(text, ':');
    const char *host = colon == NULL ? "127.0.0.1" : text;
    const size_t host_length = colon == NULL ? strlen(host) : (size_t)(colon - text);
    if (!is_host(host, host_length) ||
        !str_parse_u64(colon == NULL ? text : colon + 1, 1, 65535, &port))
        return refuse(text, err);
    if (!str_append(a->text, sizeof a->text, &length, "%.*s:%u", (int)host_length, host,
                    (unsigned)port))
        return refuse(text, err);
    length = 0;
    if (!str_append(a->base, sizeof a->base, &length, "http://%s", a->text))
        return refuse(text, err);
    return true;
}
