/* What is opened as a file, and what is refused at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <esclusa/file.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[] = "/tmp/esclusa-file-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[100];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    FILE *file = fopen(in_folder("plain"), "w");
    assert_non_null(file);
    assert_true(fputs("text", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(symlink("plain", in_folder("link")), 0);
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    assert_int_equal(symlink("fifo", in_folder("link-to-fifo")), 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", in_folder("socket"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)(const void *)&at, sizeof at), 0);
    assert_int_equal(close(fd), 0);
    return 0;
}

static int clean(void **state)
{
    static const char *const names[] = {"plain", "link", "fifo", "link-to-fifo", "socket"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(unlink(in_folder(names[i])), 0);
    return rmdir(folder);
}

static void taken(void **state)
{
    static const char *const names[] = {"plain", "link"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *why = "";
        char text[8] = "";
        int fd = file_open_regular(in_folder(names[i]), &why);
        assert_true(fd >= 0);
        assert_null(why);
        assert_int_equal(read(fd, text, sizeof text - 1), 4);
        assert_string_equal(text, "text");
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_int_equal(close(fd), 0);
        assert_null(file_unfit(in_folder(names[i])));
    }
}

static void refuse(const char *path, const char *expected, bool unfit)
{
    const char *why = NULL;
    (void)alarm(20); /* that none is waited for is what this is about */
    assert_int_equal(file_open_regular(path, &why), -1);
    assert_non_null(why);
    assert_string_equal(why, expected);
    const char *known = file_unfit(path);
    assert_int_equal(known != NULL, unfit);
    if (unfit)
        assert_string_equal(known, expected);
    (void)alarm(0);
}

static void refused(void **state)
{
    (void)state;
    refuse(in_folder("fifo"), "this is a FIFO, a regular file is needed", true);
    refuse(in_folder("link-to-fifo"), "this is a FIFO, a regular file is needed", true);
    refuse(in_folder("socket"), "this is a socket, a regular file is needed", true);
    refuse("/dev/zero", "this is a device, a regular file is needed", true);
    refuse("/dev/null", "this is a device, a regular file is needed", true);
    refuse(folder, "this is a directory, a file is needed", true);
    refuse(in_folder("missing"), "No such file or directory", false);
    refuse(in_folder("plain/x"), "Not a directory", false);
    refuse("", "No such file or directory", false);
    int ends[2];
    char path[32];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)snprintf(path, sizeof path, "/dev/fd/%d", ends[0]); /* what <(...) of a shell is */
    refuse(path, "this is a FIFO, a regular file is needed", true);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests_name("file", tests, make, clean);
}
