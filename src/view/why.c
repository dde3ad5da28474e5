#include "why.h"

#include <inttypes.h>
#include <string.h>

#define DASH(text) ((text)[0] != '\0' ? (text) : "-")

/* https://www.iana.org/assignments/tls-parameters: TLS Alerts. */
const char *why_alert_word(int64_t alert)
{
    static const struct {
        int64_t number;
        const char *word;
    } words[] = {
        {0, "close_notify"},
        {10, "unexpected_message"},
        {20, "bad_record_mac"},
        {22, "record_overflow"},
        {40, "handshake_failure"},
        {42, "bad_certificate"},
        {43, "unsupported_certificate"},
        {44, "certificate_revoked"},
        {45, "certificate_expired"},
        {46, "certificate_unknown"},
        {47, "illegal_parameter"},
        {48, "unknown_ca"},
        {49, "access_denied"},
        {50, "decode_error"},
        {51, "decrypt_error"},
        {70, "protocol_version"},
        {71, "insufficient_security"},
        {80, "internal_error"},
        {86, "inappropriate_fallback"},
        {90, "user_canceled"},
        {100, "no_renegotiation"},
        {109, "missing_extension"},
        {110, "unsupported_extension"},
        {112, "unrecognized_name"},
        {113, "bad_certificate_status_response"},
        {115, "unknown_psk_identity"},
        {116, "certificate_required"},
        {120, "no_application_protocol"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].number == alert)
            return words[i].word;
    }
    return NULL;
}

static int wider(int width, const char *text)
{
    const int length = (int)strlen(DASH(text));
    return length > width ? length : width;
}

static void print_id(FILE *out, int64_t id)
{
    char text[24] = "-";
    if (id != NUMBER_NONE)
        (void)snprintf(text, sizeof text, "%" PRId64, id);
    fprintf(out, "%-10s  ", text);
}

void why_print_list(FILE *out, const struct failures *f, const char *admin)
{
    int service = (int)strlen("SERVICE"), phase = (int)strlen("PHASE"),
        reason = (int)strlen("REASON");
    if (f->count == 0) {
        fputs("no session has failed since the gateway started\n", out);
        return;
    }
    for (size_t i = 0; i < f->count; i++) {
        service = wider(service, f->items[i].service);
        phase = wider(phase, f->items[i].phase);
        reason = wider(reason, f->items[i].reason);
    }
    fprintf(out, "%-10s  %-24s  %-*s  %-*s  %-*s  UPSTREAM\n", "ID", "TIME", service, "SERVICE",
            phase, "PHASE", reason, "REASON");
    for (size_t i = 0; i < f->count; i++) {
        const struct failure *one = &f->items[i];
        print_id(out, one->id);
        fprintf(out, "%-24s  %-*s  %-*s  %-*s  %s\n", DASH(one->time), service, DASH(one->service),
                phase, DASH(one->phase), reason, DASH(one->reason), DASH(one->upstream));
    }
    fprintf(out, "\n");
    if (f->total > (int64_t)f->count)
        fprintf(out, "the last %zu of %" PRId64 "; ", f->count, f->total);
    if (f->dropped > 0)
        fprintf(out, "%" PRId64 " could not be noted; ", f->dropped);
    fprintf(out, "all about one: esclusa why ID --admin %s\n", admin);
}

static void print_text(FILE *out, const char *word, const char *text)
{
    if (text[0] != '\0')
        fprintf(out, "%-12s %s\n", word, text);
}

static void print_number(FILE *out, const char *word, int64_t value)
{
    if (value != NUMBER_NONE)
        fprintf(out, "%-12s %" PRId64 "\n", word, value);
}

static void print_certificate(FILE *out, const struct failure *f)
{
    if (f->depth != NUMBER_NONE)
        fprintf(out, "%-12s %" PRId64 "%s\n", "depth", f->depth, f->depth == 0 ? " (leaf)" : "");
    print_text(out, "subject", f->subject);
    print_text(out, "issuer", f->issuer);
    print_text(out, "expected", f->expected);
    print_text(out, "names", f->names);
    for (size_t i = 0; i < f->chain_count; i++)
        fprintf(out, "%-12s %zu: %s\n", i == 0 ? "chain sent" : "", i, f->chain[i]);
}

void why_print_one(FILE *out, const struct failure *f)
{
    print_number(out, "session", f->id);
    print_text(out, "time", f->time);
    print_text(out, "service", f->service);
    print_text(out, "listen", f->listen);
    print_text(out, "consumer", f->consumer);
    print_text(out, "upstream", f->upstream);
    print_text(out, "address", f->address);
    print_text(out, "phase", f->phase);
    fprintf(out, "%-12s %s%s%s\n", "reason", DASH(f->reason), f->meaning[0] != '\0' ? ": " : "",
            f->meaning);
    print_text(out, "error", f->error);
    if (f->alert != NUMBER_NONE) {
        const char *word = why_alert_word(f->alert);
        fprintf(out, "%-12s %" PRId64 " (%s), sent by the peer\n", "alert", f->alert,
                word != NULL ? word : "not a known one");
    }
    print_certificate(out, f);
    print_number(out, "attempts", f->attempts);
    if (f->duration_seconds >= 0)
        fprintf(out, "%-12s %.3f s\n", "duration", f->duration_seconds);
    if (f->bytes_up != NUMBER_NONE && f->bytes_down != NUMBER_NONE)
        fprintf(out, "%-12s %" PRId64 " up, %" PRId64 " down\n", "bytes", f->bytes_up,
                f->bytes_down);
    print_text(out, "remedy", f->remedy);
}
