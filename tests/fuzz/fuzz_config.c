/* libFuzzer target: the text of a config file, from memory. Whatever the text: no crash, no leak; a
 * refusal is one line that says where; what is taken passes the checks and can be shown. */
#include <esclusa/config.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libconfig 1.5 loses the string it was reading when a syntax error follows. It is bounded by the
 * file, and happens once a start. */
const char *__lsan_default_suppressions(void); /* NOLINT(bugprone-reserved-identifier) */
const char *__lsan_default_suppressions(void)  /* NOLINT(bugprone-reserved-identifier) */
{
    return "leak:libconfig\n";
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_refused(const struct error *err)
{
    require(err->set && err->text[0] != '\0');
    require(memchr(err->text, '\0', sizeof(err->text)) != NULL);
    require(strchr(err->text, ':') != NULL); /* FILE:LINE, the file may be an included one */
    for (const char *p = err->text; *p != '\0'; p++)
        require((unsigned char)*p >= 0x20 && *p != 0x7f);
}

static bool is_tls(const struct text_list *addresses, bool connect)
{
    bool found = false;
    for (size_t i = 0; i < addresses->count; i++) {
        struct net_endpoint e;
        struct error unused;
        error_init(&unused);
        require(net_endpoint_parse(&e, addresses->items[i], connect ? NET_CONNECT : NET_LISTEN,
                                   &unused));
        found = found || e.scheme == NET_TLS;
    }
    return found;
}

static void take_path(void *context, const char *path)
{
    size_t *count = context;
    require(path != NULL);
    ++*count;
}

/* What whoever makes a snapshot of it relies on. */
static void check_service(const struct service_config *s)
{
    require(s->key == NULL || s->cert != NULL || !is_tls(&s->connect, true));
    require(s->listen_key.count == 0 || s->listen_key.count == s->listen_cert.count ||
            !is_tls(&s->listen, false));
    if (is_tls(&s->listen, false)) {
        require(s->listen_cert.count > 0);
        require(s->listen_client <= TLS_CLIENT_NONE || s->listen_ca != NULL ||
                s->listen_ca_dir != NULL);
    }
    for (size_t i = 0; is_tls(&s->connect, true) && i < s->verify_names.count; i++) {
        struct tls_name name;
        struct error unused;
        error_init(&unused);
        require(tls_name_set(&name, s->verify_names.items[i], &unused));
    }
}

static void check_taken(const struct config *c)
{
    char shown[1024];
    size_t paths = 0;
    require(c->service_count > 0);
    config_paths(c, take_path, &paths);
    require(paths >= c->files.count && c->files.count > 0);
    for (size_t i = 0; i < c->service_count; i++) {
        const struct service_config *s = &c->services[i];
        require(s->name != NULL && s->name[0] != '\0');
        require(s->listen.count > 0 && s->connect.count > 0);
        require(s->at.kind == ORIGIN_FILE && s->at.line > 0);
        for (size_t row = 0; row < option_count; row++) {
            const struct option_row *r = &option_table[row];
            const void *base = r->scope == OPTION_GLOBAL ? (const void *)c : (const void *)s;
            option_format(r, base, shown, sizeof(shown));
            require(memchr(shown, '\0', sizeof(shown)) != NULL);
            if (r->type == OPTION_FLAG)
                require(strcmp(shown, "true") == 0 || strcmp(shown, "false") == 0);
        }
        check_service(s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config c;
    struct error err;
    char *text = malloc(size + 1); /* malloc(0) may be NULL */

    error_init(&err);
    require(text != NULL && config_set_up(&c, &err));
    memcpy(text, data, size);
    char *exact = realloc(text, size > 0 ? size : 1); /* a read past the end is seen */
    require(exact != NULL);
    if (config_from_text(&c, "fuzz.cfg", exact, size, &err)) {
        require(!err.set);
        check_taken(&c);
    } else {
        check_refused(&err);
    }
    config_fini(&c);
    free(exact);
    return 0;
}
