/* What the protocols share. Private to src/dialogue. */
#ifndef ESCLUSA_DIALOGUE_INTERNAL_H
#define ESCLUSA_DIALOGUE_INTERNAL_H

#include <esclusa/dialogue.h>

/* A protocol. */
struct dialogue_row {
    const char *word;
    const char *peer; /* "the proxy", "the server" */
    bool proxy;
    size_t unit_max; /* longest line or packet of the peer that is waited for */
    /* Says the first words, if it is us who speak first. Once, at the beginning. */
    void (*begin)(struct dialogue *d, const struct dialogue_order *order);
    /* Uses up one unit of d->in with dialogue_take(). False: there is no whole one yet (or it
     * failed). Called as long as there is something (in: what, have > 0: how much) and the state
     * is DIALOGUE_MORE. */
    bool (*step)(struct dialogue *d, const uint8_t *in, size_t have);
    /* NULL: knows no consumer. The same for what the consumer said, in d->held. */
    void (*consumer)(struct dialogue *d);
};

extern const struct dialogue_row http_row, socks5_row, postgres_row, mysql_row, smtp_row, imap_row,
    pop3_row, ldap_row, xmpp_row, ftp_row;

void dialogue_fail(struct dialogue *d, enum dialogue_fault fault, const char *remedy,
                   const char *format, ...) PRINTF_LIKE(4, 5);
/* Queues for the peer. */
void dialogue_say(struct dialogue *d, const void *bytes, size_t length);
void dialogue_say_text(struct dialogue *d, const char *text);
/* Uses up bytes of the peer. */
void dialogue_take(struct dialogue *d, size_t length);
void dialogue_done(struct dialogue *d);
/* Keeps bytes for the consumer. */
void dialogue_early(struct dialogue *d, const void *bytes, size_t length);

/* The next line, without its end (CRLF, or LF alone), and how many bytes it takes with that. NULL:
 * not whole yet, or it holds NUL or a bare CR, and the dialogue has failed. */
const char *dialogue_line(struct dialogue *d, size_t *length_r, size_t *whole_r);
/* Sets d->note from what the peer said: without control characters, cut. */
void dialogue_note(struct dialogue *d, const void *bytes, size_t length);
/* Text begins so, letter case aside. */
bool dialogue_begins(const char *text, size_t length, const char *word);
/* What came first tells another protocol: that (" (it seems to be ...)") or "". */
const char *dialogue_guess(const uint8_t *bytes, size_t length);

/* One remedy for whoever offers no TLS. */
extern const char dialogue_no_tls_remedy[];

#endif
