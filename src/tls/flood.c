/* Messages after the handshake, counted: a peer that sends nothing but KeyUpdates keeps a worker
 * busy at a cost of 22 bytes each, and every other session of it waits. */
#include "resume.h"

#include <esclusa/clock.h>
#include <esclusa/str.h>

#include <openssl/ssl3.h>
#include <string.h>

/* A server sends up to some eight tickets at once; keys are made anew every 2^24 records or, in the
 * most careful implementations, every few MiB. */
#define MESSAGES_MAX 32
#define WINDOW_MS    10000
#define DATA_FOR_ONE ((size_t)64 * 1024) /* relaying that costs more than a KeyUpdate does */

static void count(struct tls_flood *f, const char *what)
{
    int64_t now_ms = clock_ms();
    if (f->count == 0 || now_ms - f->since_ms >= WINDOW_MS) {
        f->count = 0;
        f->since_ms = now_ms;
    }
    f->what = what;
    f->fresh = true;
    if (++f->count > MESSAGES_MAX)
        f->over = true;
}

/* SSL_set_msg_callback(3): also called for what we send, and for each record and alert. */
static void on_message(int ours, int version, int content, const void *bytes, size_t length,
                       SSL *ssl, void *flood)
{
    (void)version;
    (void)ssl;
    if (content != SSL3_RT_HANDSHAKE || ours || length == 0)
        return;
    switch (*(const unsigned char *)bytes) {
    case SSL3_MT_KEY_UPDATE:
        count(flood, "KeyUpdate messages");
        break;
    case SSL3_MT_NEWSESSION_TICKET:
        count(flood, "session tickets");
        break;
    default:
        count(flood, "handshake messages after the handshake");
        break;
    }
}

void tls_session_established(struct ssl_st *ssl, struct tls_flood *flood)
{
    tls_resume_established(ssl);
    SSL_set_msg_callback(ssl, on_message);
    SSL_set_msg_callback_arg(ssl, flood);
}

void tls_flood_data(struct tls_flood *flood, size_t size)
{
    if (flood->count == 0)
        return;
    flood->data += size;
    while (flood->data >= DATA_FOR_ONE) {
        flood->data -= DATA_FOR_ONE;
        if (flood->count > 0)
            flood->count--;
    }
}

void tls_flood_failure(struct tls_failure *f, const struct tls_flood *flood)
{
    size_t length = 0;
    memset(f, 0, sizeof *f);
    f->fault = TLS_FAULT_PROTOCOL;
    f->alert = -1;
    f->depth = -1;
    (void)str_append(f->reason, sizeof f->reason, &length, "too many %s", flood->what);
}
