/* The proxy on the way to the upstreams: where it is, and as whom. */
#include <esclusa/config.h>
#include <esclusa/file.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define CREDENTIALS_SIZE (2 * DIALOGUE_CREDENTIAL_MAX + 2)

static const struct {
    const char *scheme;
    enum dialogue_protocol protocol;
    bool tls;
} schemes[] = {
    {"http://", DIALOGUE_HTTP, false},
    {"https://", DIALOGUE_HTTP, true},
    {"socks5://", DIALOGUE_SOCKS5, false},
    {"socks5h://", DIALOGUE_SOCKS5, false}, /* curl's word for what we do anyway */
};

static bool parse_host(struct proxy_at *p, const char *rest, bool tls, struct error *err)
{
    char text[NET_TEXT_MAX];
    size_t length = 0;
    if (strchr(rest, '@') != NULL) /* what was given is not repeated: it may hold a password */
        return error_set(err, "a user or password may not stand in there, where everybody sees "
                              "it; put them in a file and give that as proxy_credentials");
    (void)str_append(text, sizeof text, &length, "%s://%s", tls ? "tls" : "tcp", rest);
    if (length > 0 && text[length - 1] == '/')
        text[length - 1] = '\0';
    return net_endpoint_parse(&p->endpoint, text, NET_CONNECT, err);
}

bool proxy_parse(struct proxy_at *p, const char *text, struct error *err)
{
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i].scheme);
        if (strncasecmp(text, schemes[i].scheme, length) != 0)
            continue;
        p->protocol = schemes[i].protocol;
        return parse_host(p, text + length, schemes[i].tls, err);
    }
    if (strchr(text, '@') != NULL)
        return parse_host(p, text, false, err);
    char quoted[QUOTE_MAX];
    config_quote(quoted, sizeof quoted, text);
    return error_set(err, "%s: give http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT",
                     quoted);
}

/* ---- credentials ---- */

static bool split(struct proxy *p, char *text, size_t length, struct error *err)
{
    char *end = memchr(text, '\n', length);
    if (end != NULL)
        length = (size_t)(end - text);
    if (length > 0 && text[length - 1] == '\r')
        length--;
    char *colon = memchr(text, ':', length);
    if (memchr(text, '\0', length) != NULL || colon == NULL)
        return error_set(err, "its first line is not USER:PASSWORD");
    text[length] = '\0';
    *colon = '\0';
    size_t most = p->at.protocol == DIALOGUE_SOCKS5 ? 255 : DIALOGUE_CREDENTIAL_MAX;
    if (strlen(text) > most || strlen(colon + 1) > most)
        return error_set(err,
                         "a user or password is longer than the %zu bytes that the proxy's "
                         "protocol takes",
                         most);
    if (p->at.protocol == DIALOGUE_SOCKS5 && (text[0] == '\0' || colon[1] == '\0'))
        return error_set(err, "SOCKS5 takes no empty user or password");
    p->user = str_dup(text);
    p->password = str_dup(colon + 1);
    return (p->user != NULL && p->password != NULL) || error_set(err, "no memory");
}

static bool read_all(int fd, char *text, size_t size, size_t *length_r, struct error *err)
{
    for (*length_r = 0; *length_r < size;) {
        ssize_t n = read(fd, text + *length_r, size - *length_r);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "cannot be read");
        if (n == 0)
            return true;
        *length_r += (size_t)n;
    }
    return error_set(err, "longer than %zu bytes", size);
}

bool proxy_read_credentials(struct proxy *p, const char *path, struct error *err)
{
    char text[CREDENTIALS_SIZE + 1];
    struct error reason;
    struct stat st;
    const char *why = NULL;
    size_t length = 0;
    error_init(&reason);
    int fd = file_open_regular(path, &why);
    if (fd < 0)
        return error_set(err, "'%s': %s", path, why);
    bool good;
    if (fstat(fd, &st) == 0 && (st.st_mode & S_IRWXO) != 0)
        good = error_set(&reason, "everybody on this machine may read it; chmod o-rwx it");
    else
        good = read_all(fd, text, sizeof text - 1, &length, &reason) &&
               split(p, text, length, &reason);
    (void)close(fd);
    explicit_bzero(text, sizeof text);
    return good || error_set(err, "'%s': %s", path, reason.text);
}

static void forget(char **text)
{
    if (*text != NULL)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void proxy_free(struct proxy **proxy)
{
    struct proxy *p = *proxy;
    *proxy = NULL;
    if (p == NULL)
        return;
    forget(&p->user);
    forget(&p->password);
    tls_profile_destroy(&p->tls);
    free(p);
}
