/* PostgreSQL's SSLRequest (protocol 3.0, 55.2.10): one question, one byte. What a server says with
 * 'E' is not shown: it is not authenticated yet. */
#include "dialogue_internal.h"

static void begin(struct dialogue *d, const struct dialogue_order *order)
{
    static const uint8_t ssl_request[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
    (void)order;
    dialogue_say(d, ssl_request, sizeof ssl_request);
}

static bool step(struct dialogue *d, const uint8_t *in, size_t have)
{
    switch (in[0]) {
    case 'S':
        dialogue_take(d, 1);
        dialogue_done(d);
        return true;
    case 'N':
        dialogue_fail(d, DIALOGUE_FAULT_NO_TLS,
                      "set ssl = on in postgresql.conf, with a certificate; without it nothing is "
                      "sent there",
                      "the server does not do TLS");
        return false;
    case 'E':
        dialogue_fail(d, DIALOGUE_FAULT_UNREACHABLE, "look at the server's log",
                      "the server answered the request for TLS with an error");
        return false;
    default:
        dialogue_fail(d, DIALOGUE_FAULT_GARBAGE, "check that this port is PostgreSQL's",
                      "the server's answer to the request for TLS is not PostgreSQL's%s",
                      dialogue_guess(in, have));
        return false;
    }
}

const struct dialogue_row postgres_row = {
    .word = "postgres",
    .peer = "the server",
    .unit_max = 1,
    .begin = begin,
    .step = step,
};
