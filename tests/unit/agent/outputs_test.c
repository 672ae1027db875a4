/*
 * Tests of agent/outputs.c: the manifest over a hostile directory.
 */
#include "agent/outputs.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "shared/json.h"
#include "shared/limits.h"
#include "tests/support/suite.h"
#include "tests/unit/agent/pump.h"

static int idle(void *ctx)
{
    (void)ctx;
    return 1000;
}

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

static void outputs_lists_without_following(void)
{
    char root[64];
    char cmd[512];
    struct arp_err err;
    struct snapshot_diff diff = {.files_changed = 2};
    temp_make(root);
    snprintf(cmd, sizeof(cmd),
        "cd %s && mkdir -p results/b && printf hi > results/b/z && printf 1 > results/b.txt && ln -s /etc "
        "results/dir && "
        "ln -s /etc/passwd results/link && mkfifo results/fifo && printf x > \"$(printf 'results/\\377')\" "
        "&& ln -s /etc artifacts",
        root);
    ASSERT_INT(system(cmd), 0);
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char results[] = "results";
    char artifacts[] = "artifacts";
    char none[] = "none";
    char *dirs[] = {results, artifacts, none};
    struct outputs_spec spec = {.repo_fd = fd,
        .run_id = "r",
        .git_commit = "",
        .diff = &diff,
        .dirs = dirs,
        .dir_count = 3,
        .idle = {.call = idle}};
    cleanup_buf struct buf out;
    cleanup_cjson cJSON *obj = NULL;
    buf_init(&out, LIMIT_OUTPUTS_JSON);
    ASSERT_INT(outputs_write(&spec, &out, &err), 0);
    ASSERT_INT(json_parse(out.data, out.len - 1, &obj, &err), 0);
    ASSERT_INT(json_get_int(obj, "artifactsTotal", -1), 6);
    ASSERT_STR(json_get_str(find(obj, "results/b/z"), "checksum"),
        "sha256:8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4");
    ASSERT_STR(json_get_str(find(obj, "results/link"), "type"), "symlink");
    ASSERT_TRUE(json_get_str(find(obj, "results/link"), "checksum") == NULL);
    ASSERT_STR(json_get_str(find(obj, "results/dir"), "type"), "symlink");
    ASSERT_STR(json_get_str(find(obj, "results/fifo"), "type"), "fifo");
    ASSERT_STR(json_get_str(find(obj, "results/\\xff"), "pathBase64"), "cmVzdWx0cy//");
    const char *first = strstr(out.data, "results/b.txt");
    ASSERT_TRUE(first && first < strstr(out.data, "results/b/z"));
    close(fd);
    temp_remove(root);
}

TEST_SUITE(outputs_test, TEST(outputs_lists_without_following))
