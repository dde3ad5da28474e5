/* address: the admin endpoint's ADDR as libcurl wants it. Pure. */
#ifndef ESCLUSA_VIEW_ADDRESS_H
#define ESCLUSA_VIEW_ADDRESS_H

#include <esclusa/error.h>

#include <stdbool.h>

#define VIEW_BASE_MAX 300
#define VIEW_PATH_MAX 108 /* of sun_path, unix(7) */

struct view_address {
    char text[VIEW_BASE_MAX]; /* for messages: as given, "127.0.0.1:" before a bare port */
    char base[VIEW_BASE_MAX]; /* "http://HOST:PORT" */
    char path[VIEW_PATH_MAX]; /* of a socket; without the "@" of an abstract one; empty: TCP */
    bool abstract;
};

/* HOST:PORT, [V6]:PORT, PORT, unix:/path, unix:@name. */
bool view_address_parse(struct view_address *a, const char *text, struct error *err) WARN_UNUSED;

#endif
