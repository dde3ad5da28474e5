/* esclusa-view: what `esclusa why` and `esclusa top` run. A program of its own, so that the gateway
 * is not linked with a client's libraries. Exit: 0 clean, 1 not to be had, 2 wrong words. */
#include "fetch.h"
#include "model.h"
#include "top.h"
#include "why.h"
#include "words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { EXIT_NOT_HAD = 1, EXIT_WRONG_WORDS = 2 };

static bool print_json(const char *body, struct error *err)
{
    char *pretty = model_pretty(body, err);
    if (pretty != NULL)
        puts(pretty);
    free(pretty);
    return pretty != NULL;
}

static bool print_failures(const struct view_words *w, const char *body, struct error *err)
{
    struct failures failures;
    if (!model_failures(&failures, body, err))
        return false;
    if (w->id == 0)
        why_print_list(stdout, &failures, w->address.text);
    else if (failures.count > 0)
        why_print_one(stdout, &failures.items[0]);
    model_failures_free(&failures);
    return true;
}

static bool run_why(const struct view_words *w, struct fetch *f, struct error *err)
{
    char path[64] = "/failures";
    if (w->id != 0)
        (void)snprintf(path, sizeof path, "/failures?id=%" PRIu64, w->id);
    if (!fetch_now(f, path, err) || fetch_refused(f, w->address.text, err))
        return false;
    const char *body = fetch_body(f);
    return w->json ? print_json(body, err) : print_failures(w, body, err);
}

static bool run(const struct view_words *w, struct fetch *f, struct error *err)
{
    switch (w->command) {
    case VIEW_TOP:
        return w->once ? top_once(w, f, err) : top_run(w, f, err);
    case VIEW_WHY:
        break;
    }
    return run_why(w, f, err);
}

int main(int argc, char *argv[])
{
    struct error err;
    struct view_words words;
    error_init(&err);
    if (!view_words_parse(&words, argc, argv, &err)) {
        fprintf(stderr, "esclusa: %s\n", err.text);
        return EXIT_WRONG_WORDS;
    }
    struct fetch *f = fetch_create(&words.address, &err);
    bool good = f != NULL && run(&words, f, &err);
    fetch_destroy(&f);
    if (good && (fflush(stdout) != 0 || ferror(stdout) != 0))
        good = error_set(&err, "could not write to standard output");
    if (!good)
        fprintf(stderr, "esclusa: %s\n", err.text);
    return good ? EXIT_SUCCESS : EXIT_NOT_HAD;
}
