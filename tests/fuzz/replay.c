/* Runs a fuzz target over every file of the directories given: the corpus as a plain test, with
 * any compiler. Fails when a directory holds no file, or cannot be read. */
#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool run_file(const char *name)
{
    FILE *f = fopen(name, "re");
    if (f == NULL) {
        perror(name);
        return false;
    }
    uint8_t *data = malloc(INPUT_MAX);
    size_t size = data == NULL ? 0 : fread(data, 1, INPUT_MAX, f);
    bool good = data != NULL && ferror(f) == 0;
    (void)fclose(f);
    if (good) {
        /* Named first: a crash must tell on which input. */
        (void)fprintf(stderr, "%s\n", name);
        (void)LLVMFuzzerTestOneInput(data, size);
    } else {
        (void)fprintf(stderr, "%s: cannot be read\n", name);
    }
    free(data);
    return good;
}

static bool run_directory(const char *directory)
{
    DIR *dir = opendir(directory);
    if (dir == NULL) {
        perror(directory);
        return false;
    }
    size_t count = 0;
    bool good = true;
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        int length = snprintf(name, sizeof(name), "%s/%s", directory, entry->d_name);
        good = length > 0 && (size_t)length < sizeof(name) && run_file(name) && good;
        count++;
    }
    (void)closedir(dir);
    (void)fprintf(stderr, "%s: %zu inputs\n", directory, count);
    return good && count > 0;
}

int main(int argc, char **argv)
{
    bool good = argc > 1;
    for (int i = 1; i < argc; i++)
        good = run_directory(argv[i]) && good;
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
