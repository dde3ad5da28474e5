/* The passphrase of our private keys. */
#include "passphrase.h"

#include <esclusa/file.h>
#include <esclusa/str.h>

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Takes what is in p->text up to the end of its first line. */
static bool take_line(struct tls_passphrase *p, size_t length, const char *source,
                      struct error *err)
{
    char *end = memchr(p->text, '\n', length);
    if (end == NULL && length == sizeof p->text)
        return error_set(err, "%s '%s': the first line is longer than %d bytes", p->option, source,
                         TLS_PASSPHRASE_SIZE - 1);
    p->length = end != NULL ? (size_t)(end - p->text) : length;
    if (end != NULL && p->length > 0 && p->text[p->length - 1] == '\r')
        p->length--;
    if (memchr(p->text, '\0', p->length) != NULL)
        return error_set(err, "%s '%s': there is a zero byte in the first line: this is no text",
                         p->option, source);
    p->text[p->length] = '\0';
    return true;
}

static bool read_file(struct tls_passphrase *p, const char *source, const char *path,
                      struct error *err)
{
    size_t length = 0;
    const char *why = NULL;
    int fd = file_open_regular(path, &why);
    if (fd < 0)
        return error_set(err, "%s '%s': %s", p->option, source, why);
    while (length < sizeof p->text && memchr(p->text, '\n', length) == NULL) {
        ssize_t n = read(fd, p->text + length, sizeof p->text - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            (void)error_set_errno(err, errno, "%s '%s'", p->option, source);
            (void)close(fd);
            return false;
        }
        if (n == 0)
            break;
        length += (size_t)n;
    }
    (void)close(fd);
    return take_line(p, length, source, err);
}

static bool read_environment(struct tls_passphrase *p, const char *source, const char *name,
                             struct error *err)
{
    const char *value = getenv(name);
    if (value == NULL)
        return error_set(err, "%s '%s': no such variable in the environment", p->option, source);
    if (!str_copy(p->text, sizeof p->text, value))
        return error_set(err, "%s '%s': the passphrase is longer than %d bytes", p->option, source,
                         TLS_PASSPHRASE_SIZE - 1);
    p->length = strlen(p->text);
    return true;
}

bool tls_passphrase_read(struct tls_passphrase *p, const char *source, const char *option,
                         struct error *err)
{
    static const char file[] = "file:";
    static const char environment[] = "env:";
    memset(p, 0, sizeof *p);
    p->option = option;
    if (source == NULL)
        return true;
    bool read;
    if (strncmp(source, file, sizeof file - 1) == 0 && source[sizeof file - 1] != '\0')
        read = read_file(p, source, source + sizeof file - 1, err);
    else if (strncmp(source, environment, sizeof environment - 1) == 0 &&
             source[sizeof environment - 1] != '\0')
        read = read_environment(p, source, source + sizeof environment - 1, err);
    else /* what was given may be the passphrase itself: it is not repeated */
        return error_set(err,
                         "%s: give file:PATH (the passphrase is its first line) or env:NAME, never "
                         "the passphrase itself",
                         option);
    if (read && p->length == 0)
        return error_set(err, "%s '%s': the passphrase is empty", option, source);
    p->given = read;
    return read;
}

void tls_passphrase_clear(struct tls_passphrase *p)
{
    OPENSSL_cleanse(p, sizeof *p);
}

int tls_passphrase_answer(char *text, int size, int writing, void *data)
{
    struct tls_passphrase *p = data;
    (void)writing;
    p->asked = true;
    if (!p->given || size < 0 || p->length > (size_t)size)
        return -1;
    memcpy(text, p->text, p->length);
    return (int)p->length;
}
