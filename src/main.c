/* The program: options in, one gateway, an exit status out. 0: clean, 1: could not run, 2: the
 * options are wrong. */
#include <esclusa/config.h>
#include <esclusa/core.h>
#include <esclusa/error.h>
#include <esclusa/log.h>
#include <esclusa/tls.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_CANNOT_RUN = 1, EXIT_WRONG_OPTIONS = 2 };

#define LOG_END_MS 1000 /* for the last lines; whoever reads them may have stopped */

/* A program may be started with 0, 1 or 2 closed. The first sockets would take these numbers, and
 * log lines would be sent to whoever is connected. */
static bool hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", O_RDWR) != fd) {
            return false;
        }
    }
    return true;
}

static void complain(const struct error *err)
{
    fprintf(stderr, "esclusa: %s\n", err->text); /* one line: error.h */
}

/* What was asked for is on its way, or we say that it is not (a full disk, a closed pipe). */
static int finish_output(struct error *err)
{
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        (void)error_set(err, "could not write to standard output");
        complain(err);
        return EXIT_CANNOT_RUN;
    }
    return EXIT_SUCCESS;
}

/* What a reload reads again: the same words, and the files that they name. */
struct words {
    int argc;
    char **argv;
    struct timespec since; /* of the first reading */
    struct program *program;
    enum tls_secret_memory secrets;
    size_t secrets_size;
};

static struct snapshot *load(void *context, unsigned workers, struct error *err)
{
    const struct words *words = context;
    struct config config;
    enum command command = COMMAND_RUN;
    struct snapshot *snapshot = NULL;
    if (!config_set_up(&config, err)) {
        return NULL;
    }
    if (config_from_command_line(&config, words->argc, words->argv, &command, err)) {
        snapshot = snapshot_create(&config, workers, err);
    }
    config_fini(&config);
    return snapshot;
}

/* Said when it is less than wanted: at `info`, that all is well. */
static void log_secret_memory(enum tls_secret_memory what, size_t size)
{
    struct log_line line;
    bool locked = what == TLS_SECRETS_LOCKED;
    log_begin(&line, locked ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "secret_memory");
    log_flag(&line, "locked", locked);
    log_number(&line, "bytes", (int64_t)size);
    if (!locked) {
        log_text(&line, "error",
                 what == TLS_SECRETS_UNLOCKED
                     ? "the memory of private keys is not locked: it may be swapped out"
                     : "private keys have no memory of their own");
        log_text(&line, "remedy",
                 "raise the limit of locked memory above these bytes (ulimit -l, LimitMEMLOCK=), "
                 "or have no swap");
    }
    log_end(&line);
}

static int serve(struct snapshot *snapshot, struct words *words, struct error *err)
{
    log_setup((enum log_level)snapshot->config.log_level,
              (enum log_format)snapshot->config.log_format, STDERR_FILENO);
    const char *log_to = snapshot->config.log_to;
    if (log_to != NULL && !log_open(log_to, err)) {
        complain(err);
        return EXIT_CANNOT_RUN;
    }
    log_secret_memory(words->secrets, words->secrets_size);
    gateway_block_signals();
    const struct snapshot_source source = {.load = load,
                                           .context = words,
                                           .since = words->since,
                                           .program = words->program,
                                           .confine = true};
    struct gateway *gateway = gateway_create(snapshot, &source, err);
    if (gateway == NULL) {
        complain(err);
        return EXIT_CANNOT_RUN;
    }
    gateway_run(gateway);
    gateway_destroy(&gateway);
    log_stop(LOG_END_MS);
    return EXIT_SUCCESS;
}

static int check_or_serve(struct config *config, enum command command, struct words *words,
                          struct error *err)
{
    if (command == COMMAND_RUN) {
        program_prepare(words->program);
    }
    words->secrets = tls_secret_memory_open(&words->secrets_size);
    struct snapshot *snapshot = snapshot_create(config, 0, err);
    if (snapshot == NULL) {
        complain(err);
        return EXIT_WRONG_OPTIONS;
    }
    int status = EXIT_SUCCESS;
    if (command == COMMAND_CHECK) {
        if (!snapshot->config.show_sandbox) {
            snapshot_print(snapshot, stdout);
        } else if (!confine_print(snapshot, stdout, err)) {
            complain(err);
            status = EXIT_WRONG_OPTIONS;
        }
        if (status == EXIT_SUCCESS) {
            status = finish_output(err);
        }
    } else {
        status = serve(snapshot, words, err);
    }
    snapshot_unref(&snapshot);
    return status;
}

static int run(struct config *config, int argc, char *argv[], struct program *program,
               struct error *err)
{
    enum command command = COMMAND_RUN;
    struct words words = {.argc = argc, .argv = argv, .program = program};
    (void)clock_gettime(CLOCK_REALTIME, &words.since);
    if (!config_from_command_line(config, argc, argv, &command, err)) {
        complain(err);
        return EXIT_WRONG_OPTIONS;
    }
    switch (command) {
    case COMMAND_EXPLAIN:
        config_print_explanation(stdout);
        return finish_output(err);
    case COMMAND_HELP:
        config_print_help(stdout);
        return finish_output(err);
    case COMMAND_VERSION:
        printf("esclusa %s (%s)\n", ESCLUSA_VERSION, tls_library_version());
        return finish_output(err);
    case COMMAND_RUN:
    case COMMAND_CHECK:
        break;
    }
    return check_or_serve(config, command, &words, err);
}

/* why and top are another program, beside this one or where it is installed. Returns only where
 * it cannot be started. */
static int start_view(char *argv[])
{
    static const char *const places[] = {"esclusa-view", ESCLUSA_VIEW_PATH};
    char self[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash = NULL;
    if (length > 0) {
        self[length] = '\0';
        slash = strrchr(self, '/');
    }
    for (size_t i = 0; slash != NULL && i < sizeof(places) / sizeof(places[0]); i++) {
        char path[2 * PATH_MAX];
        (void)snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - self), self, places[i]);
        (void)execv(path, argv);
        if (errno != ENOENT) {
            fprintf(stderr, "esclusa: cannot run %s: %s\n", path, strerror(errno));
            return EXIT_CANNOT_RUN;
        }
    }
    fprintf(stderr,
            "esclusa: %s needs the program esclusa-view, which is neither beside esclusa nor "
            "in " ESCLUSA_VIEW_PATH
            " from there: install the whole package (an image has the gateway "
            "alone: run it on another machine that reaches the admin endpoint)\n",
            argv[1]);
    return EXIT_CANNOT_RUN;
}

int main(int argc, char *argv[])
{
    if (!hold_standard_descriptors()) {
        return EXIT_CANNOT_RUN;
    }
    if (argc > 1 && (strcmp(argv[1], "why") == 0 || strcmp(argv[1], "top") == 0)) {
        return start_view(argv);
    }
    struct error err;
    struct config config;
    error_init(&err);
    struct program *program = program_create(argv, &err);
    if (program == NULL || !config_set_up(&config, &err)) {
        complain(&err);
        program_destroy(&program);
        return EXIT_CANNOT_RUN;
    }
    const int status = run(&config, argc, argv, program, &err);
    config_fini(&config);
    if (status != EXIT_SUCCESS) {
        program_failed(program, err.text);
    }
    program_destroy(&program);
    return status;
}
