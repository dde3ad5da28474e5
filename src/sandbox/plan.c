/* Which paths the process will need, from those that are named: parents and links. */
#include "sandbox_internal.h"

#include <esclusa/str.h>

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX   40   /* path_resolution(7) */
#define ENTRIES_MAX 4096 /* of a directory whose links are followed */

void sandbox_plan_init(struct sandbox_plan *plan, enum sandbox_mode mode)
{
    memset(plan, 0, sizeof *plan);
    plan->mode = mode;
    plan->uid = geteuid();
    plan->gid = getegid();
}

void sandbox_plan_fini(struct sandbox_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        free(plan->paths[i].path);
    free(plan->paths);
    plan->paths = NULL;
    plan->count = plan->capacity = 0;
}

/* ---- user and group ---- */

static bool find_user(struct sandbox_plan *plan, const char *user, struct error *err)
{
    uint64_t number = 0;
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL && str_parse_u64(user, 0, UINT32_MAX - 1, &number))
        entry = getpwuid((uid_t)number);
    if (entry == NULL && !str_parse_u64(user, 0, UINT32_MAX - 1, &number))
        return error_set(err, "user '%s': there is no such user; make it or give another", user);
    plan->uid = entry != NULL ? entry->pw_uid : (uid_t)number;
    plan->gid = entry != NULL ? entry->pw_gid : (gid_t)number;
    (void)str_copy(plan->user, sizeof plan->user, entry != NULL ? entry->pw_name : user);
    return true;
}

static bool find_group(struct sandbox_plan *plan, const char *group, struct error *err)
{
    uint64_t number = 0;
    const struct group *entry = getgrnam(group);
    if (entry != NULL)
        plan->gid = entry->gr_gid;
    else if (str_parse_u64(group, 0, UINT32_MAX - 1, &number))
        plan->gid = (gid_t)number;
    else
        return error_set(err, "group '%s': there is no such group; make it or give another", group);
    return true;
}

bool sandbox_plan_user(struct sandbox_plan *plan, const char *user, const char *group,
                       struct error *err)
{
    if (user != NULL && !find_user(plan, user, err))
        return false;
    if (group != NULL && !find_group(plan, group, err))
        return false;
    plan->change_user = user != NULL || group != NULL;
    return true;
}

/* ---- paths ---- */

static void add(struct sandbox_plan *plan, const char *real, const struct stat *status,
                unsigned access, const char *why)
{
    bool alone = !S_ISDIR(status->st_mode);
    for (size_t i = 0; i < plan->count; i++) {
        struct sandbox_path *p = &plan->paths[i];
        if (p->device == status->st_dev && p->inode == status->st_ino) {
            p->access |= access;
            return;
        }
    }
    if (plan->count == plan->capacity) {
        size_t wanted = plan->capacity == 0 ? 32 : 2 * plan->capacity;
        struct sandbox_path *more = realloc(plan->paths, wanted * sizeof *more);
        if (more == NULL) {
            plan->no_memory = true;
            return;
        }
        plan->paths = more;
        plan->capacity = wanted;
    }
    char *copy = str_dup(real);
    if (copy == NULL) {
        plan->no_memory = true;
        return;
    }
    plan->paths[plan->count++] = (struct sandbox_path){.path = copy,
                                                       .access = access,
                                                       .alone = alone,
                                                       .device = status->st_dev,
                                                       .inode = status->st_ino,
                                                       .why = why};
}

void sandbox_plan_grant(struct sandbox_plan *plan, const char *path, unsigned access,
                        const char *why)
{
    char real[PATH_MAX];
    struct stat status;
    if (realpath(path, real) != NULL && stat(real, &status) == 0)
        add(plan, real, &status, access, why);
}

static size_t depth(const char *real)
{
    size_t slashes = 0;
    for (const char *p = real; *p != '\0'; p++)
        slashes += *p == '/' && p[1] != '\0';
    return slashes;
}

/* Holds what is others': not to be given away for one file in it. */
static bool is_everybodys(const struct sandbox_plan *plan, const char *real)
{
    static const char *const list[] = {"/",     "/root", "/home", "/usr",  "/var",    "/run",
                                       "/proc", "/sys",  "/dev",  "/boot", "/usr/lib"};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        if (strcmp(real, list[i]) == 0)
            return true;
    }
    /* Who is not root cannot read what is secret there, whoever grants it. */
    if (strcmp(real, "/etc") == 0)
        return plan->uid == 0;
    return strncmp(real, "/home/", strlen("/home/")) == 0 && depth(real) == 2;
}

/* "/a/b" of "/a/b/c", "/" of "/a", "." of "a". */
static void directory_of(const char *path, char dst[PATH_MAX])
{
    (void)str_copy(dst, PATH_MAX, path);
    size_t length = strlen(dst);
    while (length > 1 && dst[length - 1] == '/')
        dst[--length] = '\0';
    char *slash = strrchr(dst, '/');
    if (slash == NULL)
        (void)str_copy(dst, PATH_MAX, ".");
    else
        slash[slash == dst ? 1 : 0] = '\0';
}

/* Where the link at path leads, one step. False: it is none. */
static bool follow(const char *path, char dst[PATH_MAX], bool *sibling_r)
{
    char text[PATH_MAX];
    char directory[PATH_MAX];
    ssize_t length = readlink(path, text, sizeof text - 1);
    if (length <= 0)
        return false;
    text[length] = '\0';
    size_t at = 0;
    directory_of(path, directory);
    *sibling_r = strchr(text, '/') == NULL;
    return text[0] == '/' ? str_copy(dst, PATH_MAX, text)
                          : str_append(dst, PATH_MAX, &at, "%s/%s", directory, text);
}

/* A directory that a link stands for may be another tomorrow, beside the present one: Kubernetes
 * turns `..data`, a deployment turns `current`. Beside /run, for which /var/run stands, is what
 * nobody meant. */
static void grant_beside(struct sandbox_plan *plan, const char *directory, const char *why)
{
    char part[PATH_MAX];
    (void)str_copy(part, sizeof part, directory);
    for (size_t i = 1; part[0] != '\0' && i <= strlen(directory); i++) {
        char target[PATH_MAX];
        char parent[PATH_MAX];
        char real[PATH_MAX];
        bool sibling = false;
        if (directory[i] != '/' && directory[i] != '\0')
            continue;
        part[i] = '\0';
        if (follow(part, target, &sibling)) {
            directory_of(target, parent);
            if (realpath(parent, real) != NULL && !is_everybodys(plan, real) &&
                depth(real) >= (sibling ? 1 : 2))
                sandbox_plan_grant(plan, real, SANDBOX_READ, why);
        }
        part[i] = directory[i];
    }
}

static void grant_directory_of(struct sandbox_plan *plan, const char *path, const char *why)
{
    char directory[PATH_MAX];
    char real[PATH_MAX];
    directory_of(path, directory);
    grant_beside(plan, directory, why);
    if (realpath(directory, real) == NULL)
        return;
    if (!is_everybodys(plan, real))
        sandbox_plan_grant(plan, real, SANDBOX_READ, why);
}

/* The directories that the chain of links at path passes through, up to where it ends. */
static void grant_chain(struct sandbox_plan *plan, const char *path, const char *why)
{
    char at[PATH_MAX];
    char next[PATH_MAX];
    bool sibling = false;
    if (!str_copy(at, sizeof at, path))
        return;
    for (int i = 0; i < LINKS_MAX; i++) {
        grant_directory_of(plan, at, why);
        if (!follow(at, next, &sibling))
            return;
        (void)str_copy(at, sizeof at, next);
    }
}

static bool covered(const struct sandbox_plan *plan, const char *real, unsigned access)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct sandbox_path *p = &plan->paths[i];
        size_t length = strcmp(p->path, "/") == 0 ? 0 : strlen(p->path);
        if ((p->access & access) == access && strncmp(real, p->path, length) == 0 &&
            (real[length] == '/' || real[length] == '\0'))
            return true;
    }
    return false;
}

/* A directory of hashed certificates is often one of links. */
static void grant_links_in(struct sandbox_plan *plan, const char *path, const char *why)
{
    DIR *directory = opendir(path);
    if (directory == NULL)
        return;
    const struct dirent *entry;
    for (int i = 0; i < ENTRIES_MAX && (entry = readdir(directory)) != NULL; i++) {
        char link[PATH_MAX];
        char real[PATH_MAX];
        size_t length = 0;
        if ((entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN) &&
            str_append(link, sizeof link, &length, "%s/%s", path, entry->d_name) &&
            realpath(link, real) != NULL && !covered(plan, real, SANDBOX_READ))
            grant_chain(plan, link, why);
    }
    closedir(directory);
}

void sandbox_plan_file(struct sandbox_plan *plan, const char *path, const char *why)
{
    char real[PATH_MAX];
    struct stat status;
    bool there = realpath(path, real) != NULL && stat(real, &status) == 0;
    if (there && S_ISDIR(status.st_mode)) {
        size_t length = 0;
        char inside[PATH_MAX];
        add(plan, real, &status, SANDBOX_READ, why);
        if (str_append(inside, sizeof inside, &length, "%s/.", path))
            grant_directory_of(plan, inside, why);
        grant_links_in(plan, real, why);
        return;
    }
    grant_chain(plan, path, why);
    if (there && !covered(plan, real, SANDBOX_READ))
        add(plan, real, &status, SANDBOX_READ, why);
}

void sandbox_plan_parent(struct sandbox_plan *plan, const char *path, unsigned access,
                         const char *why)
{
    char directory[PATH_MAX];
    directory_of(path, directory);
    sandbox_plan_grant(plan, directory, access, why);
}

/* ---- afterwards ---- */

static bool same(const struct sandbox_path *p, const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && status.st_dev == p->device && status.st_ino == p->inode;
}

/* Landlock looks at inodes: a directory made anew in the place of the old one is another one. */
static bool grants(const struct sandbox_path *p, const char *real, unsigned access)
{
    size_t length = strcmp(p->path, "/") == 0 ? 0 : strlen(p->path);
    if ((p->access & access) != access)
        return false;
    if (p->alone)
        return same(p, real);
    return strncmp(real, p->path, length) == 0 && (real[length] == '/' || real[length] == '\0') &&
           same(p, p->path);
}

bool sandbox_covers(const struct sandbox_plan *plan, const char *path, unsigned access)
{
    char real[PATH_MAX];
    char directory[PATH_MAX];
    if (!plan->landlocked)
        return true;
    if ((access & (SANDBOX_SOCKETS | SANDBOX_WRITE)) != 0 || realpath(path, real) == NULL) {
        directory_of(path, directory);
        if (realpath(directory, real) == NULL)
            return true; /* what is not there cannot be had, sandbox or not: no reason to name it */
    }
    for (size_t i = 0; i < plan->count; i++) {
        if (grants(&plan->paths[i], real, access))
            return true;
    }
    return false;
}
