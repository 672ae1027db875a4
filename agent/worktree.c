/*
 * Worktree: see worktree.h.
 */
#include "agent/worktree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <git2/sys/repository.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/pathset.h"
#include "shared/buf.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/hash.h"

/* A .gitignore over this is no rule file. */
#define IGNORE_FILE_MAX (1 << 20)
/* Fingerprint of a subtree whose .gitignore can't be used: nothing is ignored there. */
#define PRINT_OFF 1u

struct walk {
    const struct worktree *w;
    struct worktree_result *result;
    git_odb *odb;
    git_index *tracked; /* paths of HEAD; made when first asked for */
    bool tracked_tried;
    uint64_t new_bytes;
    int64_t start_ns;
    struct buf path; /* of the entry at hand, relative to the root */
    struct arp_err *err;
};

struct dir {
    int fd;
    uint64_t print; /* fingerprint of the ignore rules in force, PRINT_OFF */
    int depth;
};

static int git_fail(struct arp_err *err, const char *what)
{
    const git_error *e = git_error_last();
    return arp_fail(err, ARP_E_IO, 0, "%s: %s", what, e && e->message ? e->message : "libgit2");
}

/* Index over HEAD's paths, NULL when HEAD has none that can be read. */
static git_index *tracked_index(struct walk *k)
{
    if (!k->tracked_tried) {
        k->tracked_tried = true;
        if (k->w->head_tree &&
            (git_index_new(&k->tracked) < 0 || git_index_read_tree(k->tracked, k->w->head_tree) < 0)) {
            git_index_free(k->tracked);
            k->tracked = NULL;
        }
    }
    return k->tracked;
}

static bool is_tracked(struct walk *k, const char *path, bool is_dir)
{
    git_index *index = tracked_index(k);
    if (!index)
        return false;
    if (!is_dir)
        return git_index_get_bypath(index, path, 0) != NULL;
    char prefix[PATH_MAX + 2];
    size_t at;
    size_t n = strlen(path);
    if (n >= PATH_MAX)
        return false;
    memcpy(prefix, path, n);
    memcpy(prefix + n, "/", 2);
    return git_index_get_bypath(index, path, 0) || git_index_find_prefix(&at, index, prefix) == 0;
}

/* libgit2 opens path/.gitignore when path is a directory, also through a link: only ask where that is safe. */
static bool may_ask_rules(const struct dir *d, const char *name, const struct stat *st)
{
    struct stat rules;
    if (S_ISLNK(st->st_mode))
        return fstatat(d->fd, name, &rules, 0) < 0 || !S_ISDIR(rules.st_mode);
    if (!S_ISDIR(st->st_mode))
        return true;
    cleanup_fd int sub = openat(d->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0 || fstatat(sub, ".gitignore", &rules, AT_SYMLINK_NOFOLLOW) < 0)
        return true;
    return S_ISREG(rules.st_mode) && rules.st_size <= IGNORE_FILE_MAX;
}

static bool is_ignored(struct walk *k, const struct dir *d, const char *name, const struct stat *st,
    const struct stat_entry *known)
{
    const char *path = buf_str(&k->path);
    if (d->print == PRINT_OFF || strcmp(name, ".gitignore") == 0)
        return false;
    if (known && known->ignore_print == d->print && (known->mode & S_IFMT) == (st->st_mode & S_IFMT))
        return known->ignored;
    int ignored = 0;
    if (!may_ask_rules(d, name, st) || git_ignore_path_is_ignored(&ignored, k->w->rules, path) < 0)
        return false;
    return ignored && !is_tracked(k, path, S_ISDIR(st->st_mode));
}

static int store_blob(struct walk *k, const void *data, size_t len, git_oid *ret)
{
    k->new_bytes += len;
    if (git_odb_write(ret, k->odb, data, len, GIT_OBJECT_BLOB) < 0)
        return git_fail(k->err, "write a blob");
    return 0;
}

/* 1: skip it. */
static int hash_link(struct walk *k, const struct dir *d, const char *name, git_oid *ret)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(d->fd, name, target, sizeof(target));
    if (n < 0 || n == sizeof(target))
        return 1;
    return store_blob(k, target, (size_t)n, ret);
}

/* Read and store a regular file. st is refreshed from the opened file. 1: skip it. */
static int hash_file(struct walk *k, const struct dir *d, const char *name, struct stat *st, git_oid *ret)
{
    cleanup_fd int fd = openat(d->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, st) < 0 || !S_ISREG(st->st_mode) || st->st_size > WORKTREE_FILE_MAX ||
        k->new_bytes + (uint64_t)st->st_size > WORKTREE_NEW_MAX)
        return 1;
    cleanup_buf struct buf content;
    buf_init(&content, WORKTREE_FILE_MAX);
    if (fd_read_all(fd, &content, NULL) != 0)
        return 1;
    return store_blob(k, buf_str(&content), content.len, ret);
}

/* The blob of a file or link, from the cache when nothing changed. 1: skip it. */
static int blob_of(struct walk *k, const struct dir *d, const char *name, struct stat *st,
    const struct stat_entry *known, git_oid *ret)
{
    if (known && statcache_fresh(known, st)) {
        *ret = known->oid;
        return 0;
    }
    return S_ISLNK(st->st_mode) ? hash_link(k, d, name, ret) : hash_file(k, d, name, st, ret);
}

/* A directory that HEAD tracks as a submodule: the commit its repository is at, or the one HEAD records. False: not a submodule. */
static bool submodule_commit(struct walk *k, const char *path, git_oid *ret)
{
    git_index *index = tracked_index(k);
    const git_index_entry *e = index ? git_index_get_bypath(index, path, 0) : NULL;
    if (!e || e->mode != GIT_FILEMODE_COMMIT)
        return false;
    *ret = e->id;
    char full[PATH_MAX];
    git_repository *sub = NULL;
    if (snprintf(full, sizeof(full), "%s/%s", k->w->root, path) < (int)sizeof(full) &&
        git_repository_open_ext(&sub, full, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL) == 0 &&
        git_reference_name_to_id(ret, sub, "HEAD") < 0)
        *ret = e->id;
    git_repository_free(sub);
    return true;
}

static int walk_dir(struct walk *k, const struct dir *d, git_oid *ret_tree, size_t *ret_entries);

static int enter_dir(
    struct walk *k, const struct dir *d, const char *name, git_oid *ret, git_filemode_t *ret_mode)
{
    struct stat dot;
    cleanup_fd int fd = openat(d->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || d->depth + 1 > WORKTREE_DEPTH_MAX) {
        k->result->skipped++;
        return 1;
    }
    if (fstatat(fd, ".git", &dot, AT_SYMLINK_NOFOLLOW) == 0 && submodule_commit(k, buf_str(&k->path), ret)) {
        *ret_mode = GIT_FILEMODE_COMMIT;
        return 0;
    }
    struct dir sub = {.fd = fd, .print = d->print, .depth = d->depth + 1};
    size_t entries = 0;
    int rc = walk_dir(k, &sub, ret, &entries);
    *ret_mode = GIT_FILEMODE_TREE;
    return rc ? rc : (entries == 0 ? 1 : 0); /* git has no empty directories */
}

/* Turn one name of d into a tree entry. 1: nothing to insert. */
static int visit(
    struct walk *k, const struct dir *d, const char *name, git_oid *ret, git_filemode_t *ret_mode)
{
    struct stat st;
    if (fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !(S_ISREG(st.st_mode) || S_ISLNK(st.st_mode) || S_ISDIR(st.st_mode))) {
        k->result->skipped++;
        return 1;
    }
    const struct stat_entry *known = statcache_find(k->w->cache, buf_str(&k->path));
    bool ignored = is_ignored(k, d, name, &st, known);
    int rc = 0;
    bool is_dir = S_ISDIR(st.st_mode);
    if (!ignored && !is_dir) {
        rc = k->result->files >= WORKTREE_FILES_MAX ? 1 : blob_of(k, d, name, &st, known, ret);
        if (rc == 1)
            k->result->skipped++;
        else if (rc == 0)
            k->result->files++;
    }
    if (rc)
        return rc;
    rc = statcache_put(k->w->cache, buf_str(&k->path), &st, ignored || is_dir ? NULL : ret, ignored, d->print,
        k->start_ns, k->err);
    if (rc || ignored)
        return rc ? rc : 1;
    if (is_dir)
        return enter_dir(k, d, name, ret, ret_mode);
    *ret_mode = S_ISLNK(st.st_mode) ? GIT_FILEMODE_LINK
                                    : (st.st_mode & 0100 ? GIT_FILEMODE_BLOB_EXECUTABLE : GIT_FILEMODE_BLOB);
    return 0;
}

/* Fold the rules of this directory's own .gitignore into the fingerprint. */
static int mix_rules(struct walk *k, struct dir *d)
{
    struct stat st;
    git_oid oid;
    if (d->print == PRINT_OFF || fstatat(d->fd, ".gitignore", &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (!S_ISREG(st.st_mode) || st.st_size > IGNORE_FILE_MAX) {
        d->print = PRINT_OFF;
        return 0;
    }
    int rc = hash_file(k, d, ".gitignore", &st, &oid);
    if (rc) {
        d->print = PRINT_OFF;
        return rc < 0 ? rc : 0;
    }
    unsigned char mixed[sizeof(d->print) + GIT_OID_RAWSZ];
    unsigned char digest[SHA256_BYTES];
    memcpy(mixed, &d->print, sizeof(d->print));
    memcpy(mixed + sizeof(d->print), oid.id, GIT_OID_RAWSZ);
    sha256_of(mixed, sizeof(mixed), digest);
    memcpy(&d->print, digest, sizeof(d->print));
    if (d->print <= PRINT_OFF)
        d->print = PRINT_OFF + 1;
    return 0;
}

/* The names of d, in the order of their bytes. A directory of more than fit has its first ones: the same before and after a run. */
static void list_names(struct walk *k, const struct dir *d, struct pathset *ret)
{
    int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    uint64_t seen = 0;
    pathset_init(ret, WORKTREE_FILES_MAX, WORKTREE_NAMES_MAX);
    errno = 0;
    for (struct dirent *e; dir && (e = readdir(dir)); seen++) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, ".git") == 0)
            seen--;
        else
            pathset_put(ret, e->d_name, e->d_type);
    }
    k->result->skipped += seen - ret->count + (!dir || errno ? 1 : 0);
    pathset_sort(ret);
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
}

/* One name: visit it with k->path set, insert what comes back. */
static int add_entry(struct walk *k, const struct dir *d, const char *name, git_treebuilder *builder)
{
    size_t len = k->path.len;
    git_oid oid;
    git_filemode_t mode = GIT_FILEMODE_UNREADABLE;
    if (len + 1 + strlen(name) >= PATH_MAX) {
        k->result->skipped++;
        return 0;
    }
    if (len > 0)
        buf_append_char(&k->path, '/');
    if (buf_append_str(&k->path, name) != 0)
        return buf_error(&k->path, k->err);
    int rc = visit(k, d, name, &oid, &mode);
    k->path.len = len;
    k->path.data[len] = 0;
    if (rc)
        return rc < 0 ? rc : 0;
    if (git_treebuilder_insert(NULL, builder, name, &oid, mode) < 0)
        k->result->skipped++; /* a name git refuses, such as ".GIT" */
    return 0;
}

static int walk_dir(struct walk *k, const struct dir *parent, git_oid *ret_tree, size_t *ret_entries)
{
    struct dir d = *parent;
    int rc = mix_rules(k, &d);
    struct pathset names = {0};
    git_treebuilder *builder = NULL;
    if (rc == 0)
        list_names(k, &d, &names);
    if (rc == 0 && git_treebuilder_new(&builder, k->w->store, NULL) < 0)
        rc = git_fail(k->err, "tree");
    for (size_t i = 0; rc == 0 && i < names.count; i++)
        rc = add_entry(k, &d, names.items[i].path, builder);
    pathset_done(&names);
    if (rc == 0) {
        *ret_entries = git_treebuilder_entrycount(builder);
        if ((*ret_entries > 0 || d.depth == 0) && git_treebuilder_write(ret_tree, builder) < 0)
            rc = git_fail(k->err, "write a tree");
    }
    git_treebuilder_free(builder);
    return rc;
}

int worktree_write(const struct worktree *w, struct worktree_result *ret, struct arp_err *err)
{
    *ret = (struct worktree_result){0};
    struct walk k = {.w = w, .result = ret, .err = err, .start_ns = clock_now_us() * 1000};
    buf_init(&k.path, PATH_MAX - 1);
    if (git_repository_odb(&k.odb, w->store) < 0)
        return git_fail(err, "object store");
    /* Whether an ignored path is left out also depends on what HEAD tracks. */
    struct dir root = {.fd = w->root_fd, .print = PRINT_OFF + 1};
    if (w->head_tree) {
        memcpy(&root.print, git_tree_id(w->head_tree)->id, sizeof(root.print));
        if (root.print <= PRINT_OFF)
            root.print = PRINT_OFF + 1;
    }
    size_t entries;
    git_attr_cache_flush(w->rules);
    int rc = walk_dir(&k, &root, &ret->tree, &entries);
    if (rc == 0)
        rc = statcache_turn(w->cache, err);
    git_index_free(k.tracked);
    git_odb_free(k.odb);
    buf_done(&k.path);
    return rc;
}
