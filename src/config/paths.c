/* The files and directories that a configuration comes from, for whoever watches them. */
#include <esclusa/config.h>

#include "config_internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

struct teller {
    void (*tell)(void *context, const char *path);
    void *context;
};

/* RFC 3986 3.1. One letter is a path with a colon in it rather than a scheme, and what comes behind
 * a slash is none. */
static bool has_scheme(const char *value)
{
    size_t length = 0;
    if (!isalpha((unsigned char)value[0])) {
        return false;
    }
    while (isalnum((unsigned char)value[length]) || value[length] == '+' || value[length] == '-' ||
           value[length] == '.') {
        length++;
    }
    return length > 1 && value[length] == ':';
}

/* RFC 8089 2, as OpenSSL's store reads it: file:PATH, file:///PATH, file://localhost/PATH. */
static const char *path_of_file_uri(const char *uri)
{
    static const char local[] = "//localhost/";
    const char *path = uri + strlen("file:");
    if (strncasecmp(path, local, strlen(local)) == 0) {
        return path + strlen(local) - 1;
    }
    return strncmp(path, "///", 3) == 0 ? path + 2 : path;
}

/* NULL: nothing that could be watched, like pkcs11:token=t. */
static const char *path_of(const struct option_row *row, const char *value)
{
    const bool may_be_uri = strstr(row->argument, "URI") != NULL;
    if (!may_be_uri || !has_scheme(value) || access(value, F_OK) == 0) {
        return value; /* the tls module prefers a file of that name, too */
    }
    return strncasecmp(value, "file:", strlen("file:")) == 0 ? path_of_file_uri(value) : NULL;
}

static void tell_value(const struct teller *t, const struct option_row *row, const char *value)
{
    const char *path = value == NULL ? NULL : path_of(row, value);
    if (path != NULL) {
        t->tell(t->context, path);
    }
}

static void tell_passphrase(const struct teller *t, const char *source)
{
    if (source != NULL && strncmp(source, "file:", strlen("file:")) == 0) {
        t->tell(t->context, source + strlen("file:"));
    }
}

static void tell_service(const struct teller *t, const struct service_config *s)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        if (!row->path) {
            continue;
        }
        tell_value(t, row, option_text(row, s));
        const struct text_list *list = option_list(row, s);
        for (size_t n = 0; list != NULL && n < list->count; n++) {
            tell_value(t, row, list->items[n]);
        }
    }
    tell_passphrase(t, s->key_passphrase);
    tell_passphrase(t, s->listen_key_passphrase);
}

void config_paths(const struct config *c, void (*tell)(void *context, const char *path),
                  void *context)
{
    const struct teller t = {.tell = tell, .context = context};
    for (size_t i = 0; i < c->files.count; i++) {
        tell(context, c->files.items[i]);
    }
    for (size_t i = 0; i < c->service_count; i++) {
        tell_service(&t, &c->services[i]);
    }
}

/* ---- what is written ---- */

struct written_teller {
    void (*tell)(void *context, const char *path, bool is_socket);
    void *context;
};

static void tell_written(const struct written_teller *t, const char *value)
{
    static const char scheme[] = "unix:";
    bool is_socket = strncasecmp(value, scheme, strlen(scheme)) == 0;
    struct net_endpoint at;
    if (strncmp(value, "file:/", strlen("file:/")) == 0) {
        t->tell(t->context, value + strlen("file:"), false);
    } else if (!is_socket && value[0] == '/') {
        t->tell(t->context, value, false);
    } else if (is_socket && net_endpoint_parse(&at, value, NET_LISTEN, NULL) && at.path[0] == '/') {
        t->tell(t->context, at.path, true);
    }
}

static void tell_written_row(const struct written_teller *t, const struct option_row *row,
                             const void *base)
{
    const char *text = option_text(row, base);
    const struct text_list *list = option_list(row, base);
    if (text != NULL) {
        tell_written(t, text);
    }
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        tell_written(t, list->items[i]);
    }
}

void config_written_paths(const struct config *c,
                          void (*tell)(void *context, const char *path, bool is_socket),
                          void *context)
{
    const struct written_teller t = {.tell = tell, .context = context};
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        if (!row->written) {
            continue;
        }
        if (row->scope == OPTION_GLOBAL) {
            tell_written_row(&t, row, c);
            continue;
        }
        for (size_t n = 0; n < c->service_count; n++) {
            tell_written_row(&t, row, &c->services[n]);
        }
    }
}
