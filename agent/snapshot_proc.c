/*
 * Snapshot helper process: see snapshot_proc.h.
 */
#include "agent/snapshot_proc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <git2/sys/repository.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "agent/footprint.h"
#include "agent/worktree.h"
#include "shared/buf.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/limits.h"

/* Two 64 MiB files, their patch in base85 and libgit2's caches fit; a reference of some gigabytes does not. Mapped packs count only as address
 * space. AddressSanitizer's shadow alone is larger than both. */
#ifdef __SANITIZE_ADDRESS__
#define DATA_MAX      RLIM_INFINITY
#define ADDRESS_SPACE RLIM_INFINITY
#else
#define DATA_MAX      (3ull << 29)
#define ADDRESS_SPACE (16ull << 30)
#endif

/* Larger files are compared as binary ones: a short line takes fifty times its bytes while lines are compared. */
#define LINES_MAX (16u << 20)

/* How long a FIFO that stands for a file of .git may hold up one open(). Opening a real file takes microseconds and is not interrupted. */
#define TICK_US 200000

struct helper {
    char repo_path[PATH_MAX];
    git_repository *store, *rules;
    struct statcache *cache;
    git_oid first, last;
    bool began; /* the first snapshot was taken, with or without a tree */
    bool has_first, has_last;
};

/* Nothing outside the private store configures libgit2, and it does not refuse files of another owner: reading those is the job. */
static int setup_libgit2(void)
{
    int rc = git_libgit2_init() < 0 ? -1 : 0;
    static const int levels[] = {
        GIT_CONFIG_LEVEL_PROGRAMDATA, GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_XDG, GIT_CONFIG_LEVEL_GLOBAL};
    for (size_t i = 0; rc == 0 && i < sizeof(levels) / sizeof(levels[0]); i++)
        rc = git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, levels[i], "");
    if (rc == 0)
        rc = git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    if (rc == 0) /* our tree entries name objects just written, or known from the cache */
        rc = git_libgit2_opts(GIT_OPT_ENABLE_STRICT_OBJECT_CREATION, 0);
    return rc;
}

static const char *git_text(void)
{
    const git_error *e = git_error_last();
    return e && e->message ? e->message : "unknown libgit2 error";
}

/* Open the private store, making it when it is missing. */
static int open_store(struct helper *h, const char *root)
{
    char path[PATH_MAX];
    char cache[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/" SNAPSHOT_STORE "/git", root) >= (int)sizeof(path) ||
        snprintf(cache, sizeof(cache), "%s/" SNAPSHOT_STORE "/git/statcache", root) >= (int)sizeof(cache) ||
        snprintf(h->repo_path, sizeof(h->repo_path), "%s/repo", root) >= (int)sizeof(h->repo_path))
        return -1;
    if (git_repository_open_bare(&h->store, path) < 0) {
        git_config *config = NULL;
        if (git_repository_init(&h->store, path, 1) < 0 || git_repository_config(&config, h->store) < 0)
            return -1;
        /* Names that only other systems treat specially are ordinary here. */
        int rc = git_config_set_bool(config, "core.protectNTFS", 0);
        if (rc == 0)
            rc = git_config_set_bool(config, "core.protectHFS", 0);
        if (rc == 0)
            rc = git_config_set_bool(config, "core.ignorecase", 0);
        git_config_free(config);
        git_repository_free(h->store);
        h->store = NULL;
        if (rc < 0 || git_repository_open_bare(&h->store, path) < 0)
            return -1;
    }
    if (git_repository_open_bare(&h->rules, path) < 0)
        return -1;
    h->cache = statcache_load(cache);
    return h->cache ? 0 : -1;
}

static int send_frame(char type, const void *payload, size_t len)
{
    unsigned char head[SNAPSHOT_FRAME_HEAD] = {(unsigned char)type};
    uint32_t be = htonl((uint32_t)len);
    memcpy(head + 1, &be, sizeof(be));
    int rc = fd_write_all(1, head, sizeof(head), NULL);
    return rc ? rc : fd_write_all(1, payload, len, NULL);
}

/* libgit2 reads these whole, without asking what they are: with a FIFO in their place, or a file that fills the memory, there is nothing to
 * read. */
#define GIT_FILE_MAX (64 << 20)
static bool plain_files_only(int root_fd)
{
    static const char *const names[] = {".git/HEAD", ".git/config", ".git/commondir", ".git/packed-refs",
        ".git/objects/info/alternates", ".git/config.worktree"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct stat st;
        if (fstatat(root_fd, names[i], &st, 0) == 0 && (!S_ISREG(st.st_mode) || st.st_size > GIT_FILE_MAX))
            return false;
    }
    return true;
}

/* What HEAD says, written into the open object j. root_fd: the repository's directory. Returns HEAD's tree (or NULL) and repository, both owned by the caller. */
static git_tree *read_head(const struct helper *h, int root_fd, struct json *j, git_repository **ret_repo)
{
    git_repository *repo = NULL;
    git_reference *head = NULL;
    git_object *commit = NULL;
    git_object *tree = NULL;
    char hex[GIT_OID_HEXSZ + 1];
    *ret_repo = NULL;
    if (root_fd < 0) { /* not there, or a link: libgit2 would follow it */
        json_kstr(j, "error", "the repository is no directory");
        return NULL;
    }
    if (!plain_files_only(root_fd)) {
        json_kstr(j, "error", "a file of .git is no regular file of a sane size");
        return NULL;
    }
    int rc = git_repository_open_ext(&repo, h->repo_path, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
    if (rc == 0)
        rc = git_repository_head(&head, repo);
    if (rc == GIT_EUNBORNBRANCH) {
        json_kbool(j, "unborn", true);
    } else if (rc == 0) {
        bool branch = git_reference_is_branch(head);
        json_kbool(j, "detached", !branch);
        if (branch)
            json_kstr(j, "branch", git_reference_shorthand(head));
        rc = git_reference_peel(&commit, head, GIT_OBJECT_COMMIT);
        if (rc == 0)
            json_kstr(j, "commit", git_oid_tostr(hex, sizeof(hex), git_object_id(commit)));
        if (rc == 0)
            rc = git_object_peel(&tree, commit, GIT_OBJECT_TREE);
        if (rc == 0)
            json_kstr(j, "headTree", git_oid_tostr(hex, sizeof(hex), git_object_id(tree)));
    }
    if (rc < 0 && rc != GIT_EUNBORNBRANCH)
        json_kstr(j, "error", git_text());
    git_object_free(commit);
    git_reference_free(head);
    *ret_repo = repo;
    return (git_tree *)tree;
}

static void on_tick(int sig)
{
    (void)sig;
}

/* libgit2 waits in open() for ever when the workload puts a FIFO in place of a reference or an object, in .git or wherever that leads. A
 * signal that comes again and again ends each such open() with EINTR, which libgit2 reports as a file it can't read. */
static int set_ticks(long every_us)
{
    struct sigaction act = {.sa_handler = on_tick}; /* without SA_RESTART */
    struct itimerval timer = {.it_interval = {.tv_usec = every_us}, .it_value = {.tv_usec = every_us}};
    return sigaction(SIGALRM, &act, NULL) < 0 || setitimer(ITIMER_REAL, &timer, NULL) < 0 ? -1 : 0;
}

static int take_snapshot(struct helper *h)
{
    cleanup_buf struct buf out;
    struct json j;
    buf_init(&out, SNAPSHOT_FRAME_MAX);
    json_init(&j, &out);
    json_obj_open(&j);
    struct arp_err err = {0};
    struct worktree_result result;
    cleanup_fd int root = open(h->repo_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc = root < 0 ? arp_fail(&err, ARP_E_IO, errno, "open the repository directory") : 0;
    if (rc == 0 && git_repository_set_workdir(h->rules, h->repo_path, 0) < 0)
        rc = arp_fail(&err, ARP_E_IO, 0, "ignore rules: %s", git_text());
    git_repository *head_repo;
    git_tree *head_tree = read_head(h, root, &j, &head_repo);
    if (rc == 0) {
        struct worktree w = {.store = h->store,
            .rules = h->rules,
            .head_repo = head_repo,
            .head_tree = head_tree,
            .root_fd = root,
            .root = h->repo_path,
            .cache = h->cache};
        rc = worktree_write(&w, &result, &err);
    }
    if (rc == 0) {
        char hex[GIT_OID_HEXSZ + 1];
        json_kstr(&j, "tree", git_oid_tostr(hex, sizeof(hex), &result.tree));
        json_kuint(&j, "files", result.files);
        json_kuint(&j, "skipped", result.skipped);
        if (!h->began)
            h->first = result.tree;
        h->has_first = h->has_first || !h->began;
        h->last = result.tree;
    } else {
        json_kstr(&j, "treeError", err.msg);
    }
    h->began = true;
    h->has_last = rc == 0;
    json_obj_close(&j);
    git_tree_free(head_tree);
    git_repository_free(head_repo);
    return out.error ? -1 : send_frame('S', out.data, out.len);
}

/* Send a patch in frames. */
static int send_patch(const char *data, size_t len)
{
    while (len > 0) {
        size_t n = len < SNAPSHOT_FRAME_MAX ? len : SNAPSHOT_FRAME_MAX;
        if (send_frame('P', data, n) != 0)
            return -1;
        data += n;
        len -= n;
    }
    return 0;
}

struct diff_sum {
    uint64_t files, insertions, deletions, bytes;
    bool truncated;
};

/* The two trees compared, twice: file by file as it is, and each file as a binary one. */
struct comparison {
    git_diff *plain, *binary; /* binary: made when first asked for */
};

static int make_diff(struct helper *h, uint32_t flags, git_diff **ret)
{
    git_tree *before = NULL;
    git_tree *after = NULL;
    git_diff_options opts;
    git_diff_options_init(&opts, GIT_DIFF_OPTIONS_VERSION);
    /* Without INCLUDE_TYPECHANGE a file that became a link is a deletion and an addition: the only form `git apply` takes. */
    opts.flags = GIT_DIFF_SHOW_BINARY | flags;
    opts.id_abbrev = GIT_OID_HEXSZ; /* "git apply" wants whole ids for binary files */
    int rc = git_tree_lookup(&before, h->store, &h->first);
    if (rc == 0)
        rc = git_tree_lookup(&after, h->store, &h->last);
    if (rc == 0)
        rc = git_diff_tree_to_tree(ret, h->store, before, after, &opts);
    /* A file that only moved is named, not written twice. By whole ids alone: comparing contents would take time without bound. */
    git_diff_find_options find;
    git_diff_find_options_init(&find, GIT_DIFF_FIND_OPTIONS_VERSION);
    find.flags = GIT_DIFF_FIND_RENAMES | GIT_DIFF_FIND_EXACT_MATCH_ONLY;
    if (rc == 0)
        rc = git_diff_find_similar(*ret, &find);
    git_tree_free(before);
    git_tree_free(after);
    return rc;
}

static bool is_large(git_odb *odb, const git_diff_file *file)
{
    size_t size = 0;
    git_object_t type;
    return !git_oid_is_zero(&file->id) && git_odb_read_header(&size, &type, odb, &file->id) == 0 &&
           size > LINES_MAX;
}

/* Patch number i as text with its counts of lines. */
static int patch_text(git_diff *diff, size_t i, git_buf *ret_text, size_t *ret_ins, size_t *ret_del)
{
    git_patch *patch = NULL;
    int rc = git_patch_from_diff(&patch, diff, i);
    if (rc == 0 && patch)
        rc = git_patch_line_stats(NULL, ret_ins, ret_del, patch);
    if (rc == 0 && patch)
        rc = git_patch_to_buf(ret_text, patch);
    git_patch_free(patch);
    return rc;
}

/* libgit2 ends the patch of a binary file that only moved with "Binary files a and b differ", which `git apply` refuses; they don't. */
static size_t useful_length(const git_diff_delta *delta, const git_buf *text)
{
    static const char last[] = "\nBinary files ";
    const char *at = delta->status == GIT_DELTA_RENAMED && text->size > 0 ? strstr(text->ptr, last) : NULL;
    return at ? (size_t)(at + 1 - text->ptr) : text->size;
}

/* One file's patch: whole, or left out when it does not fit any more. */
static int send_delta(struct helper *h, struct comparison *c, git_odb *odb, size_t i, struct diff_sum *sum)
{
    const git_diff_delta *delta = git_diff_get_delta(c->plain, i);
    git_buf text = {0};
    size_t ins = 0;
    size_t del = 0;
    bool large = is_large(odb, &delta->old_file) || is_large(odb, &delta->new_file);
    int rc = large ? -1 : patch_text(c->plain, i, &text, &ins, &del);
    if (rc) { /* or its lines are too many for our memory */
        git_buf_dispose(&text);
        rc = c->binary ? 0 : make_diff(h, GIT_DIFF_FORCE_BINARY, &c->binary);
        ins = del = 0;
        if (rc == 0)
            rc = patch_text(c->binary, i, &text, &ins, &del);
    }
    if (rc == 0) {
        size_t len = useful_length(delta, &text);
        sum->insertions += ins;
        sum->deletions += del;
        if (sum->truncated || sum->bytes + len > LIMIT_DIFF)
            sum->truncated = true;
        else
            rc = send_patch(text.ptr, len);
        sum->bytes += sum->truncated ? 0 : len;
    }
    git_buf_dispose(&text);
    return rc;
}

/* Which delta goes at place i. Finding renames sorts a file that became a link as addition before deletion, and `git apply` wants it the
 * other way round. */
static size_t place_of(const git_diff *diff, size_t i)
{
    const git_diff_delta *here = git_diff_get_delta(diff, i);
    const git_diff_delta *next = git_diff_get_delta(diff, i + 1);
    const git_diff_delta *last = i > 0 ? git_diff_get_delta(diff, i - 1) : NULL;
    if (next && here->status == GIT_DELTA_ADDED && next->status == GIT_DELTA_DELETED &&
        strcmp(here->new_file.path, next->old_file.path) == 0)
        return i + 1;
    if (last && last->status == GIT_DELTA_ADDED && here->status == GIT_DELTA_DELETED &&
        strcmp(last->new_file.path, here->old_file.path) == 0)
        return i - 1;
    return i;
}

/* Both snapshots are there: send what differs. */
static int send_diff(struct helper *h, struct diff_sum *sum)
{
    struct comparison c = {0};
    git_odb *odb = NULL;
    int rc = git_repository_odb(&odb, h->store);
    if (rc == 0)
        rc = make_diff(h, 0, &c.plain);
    sum->files = c.plain ? git_diff_num_deltas(c.plain) : 0;
    for (size_t i = 0; rc == 0 && i < sum->files; i++)
        rc = send_delta(h, &c, odb, place_of(c.plain, i), sum);
    git_diff_free(c.plain);
    git_diff_free(c.binary);
    git_odb_free(odb);
    return rc;
}

static int take_diff(struct helper *h)
{
    cleanup_buf struct buf out;
    struct json j;
    struct diff_sum sum = {0};
    bool both = h->has_first && h->has_last;
    int rc = both ? send_diff(h, &sum) : 0;
    buf_init(&out, SNAPSHOT_FRAME_MAX);
    json_init(&j, &out);
    json_obj_open(&j);
    json_kuint(&j, "filesChanged", sum.files);
    json_kuint(&j, "insertions", sum.insertions);
    json_kuint(&j, "deletions", sum.deletions);
    json_kbool(&j, "truncated", sum.truncated);
    if (!both)
        json_kstr(&j, "error", "there are not two trees to compare");
    else if (rc)
        json_kstr(&j, "error", git_text());
    json_obj_close(&j);
    return out.error ? -1 : send_frame('E', out.data, out.len);
}

int snapshot_proc_main(const char *root)
{
    struct rlimit space = {ADDRESS_SPACE, ADDRESS_SPACE};
    struct rlimit data = {DATA_MAX, DATA_MAX};
    struct helper h = {0};
    char order;
    umask(077);
    if (setrlimit(RLIMIT_AS, &space) < 0 || setrlimit(RLIMIT_DATA, &data) < 0 || setup_libgit2() < 0 ||
        open_store(&h, root) < 0) {
        fprintf(stderr, "snapshot helper: %s\n", git_text());
        return 1;
    }
    footprint_trim(); /* it may wait for its run for days */
    int rc = 0;
    while (rc == 0) {
        ssize_t n = read(0, &order, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (order == 'S')
            rc = set_ticks(TICK_US) < 0 || take_snapshot(&h) != 0 || set_ticks(0) < 0 ? -1 : 0;
        else
            rc = order == 'D' ? take_diff(&h) : -1;
    }
    git_repository_free(h.rules);
    git_repository_free(h.store);
    statcache_free(h.cache);
    return rc ? 1 : 0;
}

/* An empty first commit, so that every run has a commit to name. */
static int commit_empty(git_repository *repo)
{
    git_treebuilder *builder = NULL;
    git_tree *tree = NULL;
    git_signature *who = NULL;
    git_oid id;
    int rc = git_treebuilder_new(&builder, repo, NULL);
    if (rc == 0)
        rc = git_treebuilder_write(&id, builder);
    if (rc == 0)
        rc = git_tree_lookup(&tree, repo, &id);
    if (rc == 0)
        rc = git_signature_now(&who, "arp", "arp@localhost");
    if (rc == 0)
        rc = git_commit_create(&id, repo, "HEAD", who, who, NULL, "Empty workspace", tree, 0, NULL);
    git_signature_free(who);
    git_tree_free(tree);
    git_treebuilder_free(builder);
    return rc;
}

int init_repo_main(const char *root)
{
    char path[PATH_MAX];
    git_repository *repo = NULL;
    git_repository_init_options opts;
    git_repository_init_options_init(&opts, GIT_REPOSITORY_INIT_OPTIONS_VERSION);
    opts.initial_head = "main";
    opts.flags = GIT_REPOSITORY_INIT_NO_REINIT;
    umask(022);
    int rc = setup_libgit2();
    if (rc == 0 && snprintf(path, sizeof(path), "%s/repo", root) >= (int)sizeof(path))
        rc = -1;
    if (rc == 0)
        rc = git_repository_init_ext(&repo, path, &opts);
    if (rc == 0)
        rc = commit_empty(repo);
    if (rc < 0)
        fprintf(stderr, "init-repo: %s\n", git_text());
    git_repository_free(repo);
    if (rc == 0 && (chdir(path) < 0 || mkdir("results", 0755) < 0 || mkdir("artifacts", 0755) < 0)) {
        perror("init-repo");
        rc = -1;
    }
    return rc ? 1 : 0;
}
