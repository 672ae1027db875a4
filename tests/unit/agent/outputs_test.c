/*
 * Tests of agent/outputs.c: the manifest over hostile directories.
 */
#include "agent/outputs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"

static char root[64];
static int root_fd;
/* Called while a file is being hashed; the walk over the names calls first. */
static void (*meanwhile)(void);
static int idle_calls;

static int idle(void *ctx)
{
    (void)ctx;
    if (meanwhile && ++idle_calls > 1)
        meanwhile();
    return 1000;
}

static void begin(void)
{
    temp_make(root);
    root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    meanwhile = NULL;
    idle_calls = 0;
}

static void end(void)
{
    close(root_fd);
    temp_remove(root);
}

/* Run a script in the directory. */
static void sh(const char *script)
{
    char cmd[4096];
    snprintf(cmd, sizeof(cmd), "cd %s && %s", root, script);
    CU_ASSERT_EQUAL_FATAL(system(cmd), 0);
}

/* The manifest of dirs (NULL-terminated), parsed; its size in *ret_len. */
static cJSON *manifest_of(const char *const *dirs, size_t max, size_t *ret_len)
{
    struct arp_err err = {0};
    struct snapshot_diff diff = {.files_changed = 2};
    char *copies[8];
    size_t n = 0;
    for (; dirs[n]; n++)
        copies[n] = strdup(dirs[n]);
    struct outputs_spec spec = {.repo_fd = root_fd,
        .run_id = "r",
        .git_commit = "",
        .diff = &diff,
        .dirs = copies,
        .dir_count = n,
        .idle = {.call = idle}};
    cleanup_buf struct buf out;
    cJSON *obj = NULL;
    buf_init(&out, max);
    int rc = outputs_write(&spec, &out, &err);
    if (rc)
        printf("%s\n", err.msg);
    CU_ASSERT_EQUAL_FATAL(rc, 0);
    CU_ASSERT_EQUAL_FATAL(json_parse(out.data, out.len - 1, &obj, &err), 0);
    if (ret_len)
        *ret_len = out.len;
    while (n > 0)
        free(copies[--n]);
    return obj;
}
#define MANIFEST(...) manifest_of((const char *const[]){__VA_ARGS__, NULL}, LIMIT_OUTPUTS_JSON, NULL)

static const cJSON *find(const cJSON *obj, const char *path)
{
    const cJSON *a;
    cJSON_ArrayForEach(a, cJSON_GetObjectItemCaseSensitive(obj, "artifacts"))
    {
        if (strcmp(json_get_str(a, "path"), path) == 0)
            return a;
    }
    return NULL;
}

static int count_of(const cJSON *obj)
{
    return cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(obj, "artifacts"));
}

/* The entry must be a file without digest, for that reason. */
static void expect_error(const cJSON *obj, const char *path, const char *error)
{
    const cJSON *a = find(obj, path);
    ASSERT_STR(json_get_str(a, "error"), error);
    ASSERT_TRUE(json_get_str(a, "checksum") == NULL);
}

static void outputs_lists_without_following(void)
{
    begin();
    sh("mkdir -p results/b && printf hi > results/b/z && printf 1 > results/b.txt && ln -s /etc results/dir "
       "&& "
       "ln -s /etc/passwd results/link && ln -s nowhere results/dangling && mkfifo results/fifo && ln -s "
       "/etc artifacts");
    char path[128];
    snprintf(path, sizeof(path), "%s/results/null", root);
    ASSERT_INT(mknod(path, S_IFCHR | 0666, makedev(1, 3)), 0);
    snprintf(path, sizeof(path), "%s/results/socket", root);
    ASSERT_INT(mknod(path, S_IFSOCK | 0666, 0), 0);
    cJSON *obj = MANIFEST("results", "artifacts", "none");
    ASSERT_INT(json_get_int(obj, "artifactsTotal", -1), 8);
    ASSERT_INT(json_get_bool(obj, "artifactsTruncated", true), false);
    ASSERT_STR(json_get_str(find(obj, "results/b/z"), "checksum"),
        "sha256:8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4");
    static const char *const others[][2] = {{"link", "symlink"}, {"dir", "symlink"}, {"dangling", "symlink"},
        {"fifo", "fifo"}, {"null", "device"}, {"socket", "socket"}};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        snprintf(path, sizeof(path), "results/%s", others[i][0]);
        const cJSON *a = find(obj, path);
        ASSERT_STR(json_get_str(a, "type"), others[i][1]);
        ASSERT_TRUE(json_get_str(a, "checksum") == NULL && json_get_str(a, "error") == NULL);
        ASSERT_INT(json_get_int(a, "sizeBytes", -1), 0);
    }
    cJSON_Delete(obj);
    end();
}

static void outputs_are_sorted_by_the_bytes_of_their_paths(void)
{
    begin();
    sh("mkdir -p results/b && : > results/b/z && : > results/b.txt && : > results/B && : > results/ab && "
       "mkdir a && : > a/x");
    cJSON *obj = MANIFEST("results", "a");
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(obj, "artifacts"), *a;
    const char *last = "";
    cJSON_ArrayForEach(a, list)
    {
        ASSERT_TRUE(strcmp(last, json_get_str(a, "path")) < 0);
        last = json_get_str(a, "path");
    }
    ASSERT_INT(count_of(obj), 5);
    cJSON_Delete(obj);
    end();
}

static void names_of_any_bytes_can_be_read_back(void)
{
    begin();
    sh("mkdir results && cd results && printf x > \"$(printf '\\377')\" && printf x > \"$(printf 'a\\nb')\" "
       "&& printf x > "
       "\"$(printf 'q\"\\\\\\001')\" && printf x > \"$(printf '\\\\\\377')\"");
    cJSON *obj = MANIFEST("results");
    ASSERT_INT(count_of(obj), 4);
    ASSERT_STR(json_get_str(find(obj, "results/\\xff"), "pathBase64"), "cmVzdWx0cy//");
    ASSERT_STR(json_get_str(find(obj, "results/\\\\\\xff"), "pathBase64"), "cmVzdWx0cy9c/w==");
    ASSERT_TRUE(find(obj, "results/a\nb") && !json_get_str(find(obj, "results/a\nb"), "pathBase64"));
    ASSERT_TRUE(find(obj, "results/q\"\\\001") != NULL);
    cJSON_Delete(obj);
    end();
}

/* Every name of a file is an entry of its own; modes are as they are, and no mode keeps the agent from reading. */
static void hard_links_and_modes_are_listed_as_they_are(void)
{
    begin();
    sh("mkdir results && printf hi > results/one && ln results/one results/two && chmod 0 results/one && "
       "printf x > results/s && "
       "chmod 4755 results/s && mkdir results/closed && printf y > results/closed/f && chmod 0 "
       "results/closed");
    cJSON *obj = MANIFEST("results");
    ASSERT_INT(count_of(obj), 4);
    ASSERT_STR(json_get_str(find(obj, "results/one"), "mode"), "0000");
    ASSERT_STR(json_get_str(find(obj, "results/one"), "checksum"),
        json_get_str(find(obj, "results/two"), "checksum"));
    ASSERT_TRUE(json_get_str(find(obj, "results/one"), "checksum") != NULL);
    ASSERT_STR(json_get_str(find(obj, "results/s"), "mode"), "4755");
    ASSERT_TRUE(json_get_str(find(obj, "results/closed/f"), "checksum") != NULL);
    cJSON_Delete(obj);
    end();
}

static void directories_within_each_other_are_listed_once(void)
{
    begin();
    sh("mkdir -p results/sub results.d && : > results/sub/f && : > results/g && : > results.d/h");
    cJSON *obj = MANIFEST("results/sub", "results", "results", "results.d");
    ASSERT_INT(count_of(obj), 3);
    ASSERT_INT(json_get_int(obj, "artifactsTotal", -1), 3);
    cJSON_Delete(obj);
    end();
}

static void too_deep_directories_are_named_not_entered(void)
{
    begin();
    char path[512] = "results";
    sh("mkdir results");
    for (int i = 0; i < OUTPUTS_DEPTH_MAX + 3; i++) {
        ASSERT_INT(mkdirat(root_fd, strcat(path, "/d"), 0755), 0);
        char file[520];
        snprintf(file, sizeof(file), "%s/f", path);
        close(openat(root_fd, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    }
    cJSON *obj = MANIFEST("results");
    ASSERT_INT(count_of(obj), OUTPUTS_DEPTH_MAX + 1);
    path[strlen("results") + 2 * (OUTPUTS_DEPTH_MAX + 1)] = 0;
    ASSERT_STR(json_get_str(find(obj, path), "type"), "directory");
    ASSERT_STR(json_get_str(find(obj, path), "error"), "too deep");
    cJSON_Delete(obj);
    end();
}

/* A path that no system call takes in one piece is counted, not listed, and the list says that it is not all. */
static void paths_over_the_systems_limit_are_counted(void)
{
    begin();
    sh("mkdir results && : > results/f");
    char name[251];
    memset(name, 'n', 250);
    name[250] = 0;
    int dir = openat(root_fd, "results", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 20; i++) {
        ASSERT_INT(mkdirat(dir, name, 0755), 0);
        int sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(dir);
        dir = sub;
    }
    static const char *const files[] = {"f", "g", "h"};
    for (int i = 0; i < 3; i++)
        close(openat(dir, files[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    close(dir);
    cJSON *obj = MANIFEST("results");
    ASSERT_INT(count_of(obj), 1);
    ASSERT_INT(json_get_int(obj, "artifactsTotal", -1), 4);
    ASSERT_INT(json_get_bool(obj, "artifactsTruncated", false), true);
    cJSON_Delete(obj);
    sh("rm -rf results");
    end();
}

static void grow_it(void)
{
    usleep(20000); /* past the tick of the file system's clock */
    int fd = openat(root_fd, "results/f", O_WRONLY | O_APPEND | O_CLOEXEC);
    fd_write_all(fd, "x", 1, NULL);
    close(fd);
}

static void shrink_it(void)
{
    usleep(20000);
    int fd = openat(root_fd, "results/f", O_WRONLY | O_CLOEXEC);
    if (ftruncate(fd, 10) < 0)
        perror("ftruncate");
    close(fd);
}

static void change_it(void)
{
    usleep(20000);
    int fd = openat(root_fd, "results/f", O_WRONLY | O_CLOEXEC);
    fd_write_all(fd, "x", 1, NULL);
    close(fd);
}

static void files_that_do_not_stand_still_have_no_digest(void)
{
    static void (*const acts[])(void) = {grow_it, shrink_it, change_it};
    for (size_t i = 0; i < 3; i++) {
        begin();
        sh("mkdir results && head -c 3145728 /dev/zero > results/f");
        meanwhile = acts[i];
        cJSON *obj = MANIFEST("results");
        expect_error(obj, "results/f", "changed while it was read");
        cJSON_Delete(obj);
        end();
    }
}

/* The run's budget of bytes to hash bounds the time; sizes are listed all the same. */
static void sparse_files_over_the_budget_are_listed_unread(void)
{
    begin();
    sh("mkdir results && truncate -s 8G results/sparse && printf hi > results/tiny");
    int64_t start = clock_mono_ns();
    cJSON *obj = MANIFEST("results");
    ASSERT_TRUE(clock_mono_ns() - start < 2000000000ll);
    expect_error(obj, "results/sparse", "not hashed: over the run's limit");
    ASSERT_TRUE(cJSON_GetObjectItemCaseSensitive(find(obj, "results/sparse"), "sizeBytes")->valuedouble ==
                8589934592.0);
    ASSERT_TRUE(json_get_str(find(obj, "results/tiny"), "checksum") != NULL);
    cJSON_Delete(obj);
    end();
}

static void make_files(unsigned n)
{
    char path[64];
    for (unsigned i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "results/%06u", (i * 7919u) % n);
        int fd = openat(root_fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        CU_ASSERT_FATAL(fd >= 0);
        close(fd);
    }
}

/* Past the limit the list is the first names, whatever the order the file system gives them in. */
static void more_files_than_the_limit_are_counted(void)
{
    begin();
    sh("mkdir results");
    make_files(LIMIT_ARTIFACTS + 500);
    int64_t start = clock_mono_ns();
    cJSON *obj = MANIFEST("results");
    printf("%u files in %lld ms ", LIMIT_ARTIFACTS + 500, (long long)((clock_mono_ns() - start) / 1000000));
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(obj, "artifacts"), *a;
    unsigned i = 0;
    bool same = true;
    cJSON_ArrayForEach(a, list)
    {
        char want[32];
        snprintf(want, sizeof(want), "results/%06u", i++);
        same = same && strcmp(json_get_str(a, "path"), want) == 0 && json_get_str(a, "checksum");
    }
    ASSERT_TRUE(same);
    ASSERT_INT(i, LIMIT_ARTIFACTS);
    ASSERT_INT(json_get_int(obj, "artifactsTotal", -1), LIMIT_ARTIFACTS + 500);
    ASSERT_INT(json_get_bool(obj, "artifactsTruncated", false), true);
    ASSERT_INT(json_get_bool(obj, "artifactsTotalExact", false), true);
    cJSON_Delete(obj);
    end();
}

/* A document over its limit ends its list early and is whole. */
static void list_ends_before_the_document_is_too_long(void)
{
    begin();
    sh("mkdir results");
    make_files(5000);
    size_t len;
    static const char *const dirs[] = {"results", NULL};
    cJSON *obj = manifest_of(dirs, 400000, &len);
    ASSERT_TRUE(count_of(obj) > 100 && count_of(obj) < 5000 && len < 400000);
    ASSERT_INT(json_get_int(obj, "artifactsTotal", -1), 5000);
    ASSERT_INT(json_get_bool(obj, "artifactsTruncated", false), true);
    cJSON_Delete(obj);
    end();
}

TEST_SUITE(outputs_test, TEST(outputs_lists_without_following),
    TEST(outputs_are_sorted_by_the_bytes_of_their_paths), TEST(names_of_any_bytes_can_be_read_back),
    TEST(hard_links_and_modes_are_listed_as_they_are), TEST(directories_within_each_other_are_listed_once),
    TEST(too_deep_directories_are_named_not_entered), TEST(paths_over_the_systems_limit_are_counted),
    TEST(files_that_do_not_stand_still_have_no_digest), TEST(sparse_files_over_the_budget_are_listed_unread),
    TEST(more_files_than_the_limit_are_counted), TEST(list_ends_before_the_document_is_too_long))
