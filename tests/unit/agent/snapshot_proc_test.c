/*
 * Tests of agent/snapshot_proc.c and agent/worktree.c: the helper's protocol on pipes, on repositories made hostile. The git program is the
 * judge: a patch must turn its tree into ours.
 */
#include "agent/snapshot_proc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "shared/fd.h"
#include "shared/json.h"
#include "tests/support/suite.h"
#include "tests/unit/agent/pump.h"

static char root[64];
static int to_helper, from_helper;
static pid_t helper;

/* Run a shell script inside the repository; its output's first line in ret when not NULL. */
static void sh(const char *script, char *ret, size_t size)
{
    char cmd[4096];
    snprintf(cmd, sizeof(cmd),
        "cd %s/repo && export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t "
        "GIT_COMMITTER_NAME=t "
        "GIT_COMMITTER_EMAIL=t@t && { %s\n} 2>&1",
        root, script);
    FILE *f = popen(cmd, "re");
    char line[1024] = "";
    char first[1024] = "";
    while (f && fgets(line, sizeof(line), f)) {
        if (!first[0])
            memcpy(first, line, sizeof(first));
    }
    int rc = f ? pclose(f) : -1;
    first[strcspn(first, "\n")] = 0;
    if (rc != 0)
        printf("script failed: %s\n%s\n", script, first);
    CU_ASSERT_EQUAL_FATAL(rc, 0);
    if (ret)
        snprintf(ret, size, "%s", first);
}

static void helper_start(void)
{
    int in[2], out[2];
    temp_make(root);
    char path[128];
    snprintf(path, sizeof(path), "%s/" SNAPSHOT_STORE, root);
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/repo", root);
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0755), 0);
    CU_ASSERT_EQUAL_FATAL(pipe2(in, O_CLOEXEC), 0);
    CU_ASSERT_EQUAL_FATAL(pipe2(out, O_CLOEXEC), 0);
    fflush(stdout);
    helper = fork();
    if (helper == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        _exit(snapshot_proc_main(root));
    }
    close(in[0]);
    close(out[1]);
    to_helper = in[1];
    from_helper = out[0];
}

static void helper_stop(void)
{
    int status;
    close(to_helper);
    waitpid(helper, &status, 0);
    close(from_helper);
    ASSERT_INT(status, 0);
    temp_remove(root);
}

static void read_exact(void *ret, size_t len)
{
    for (char *at = ret; len > 0;) {
        ssize_t n = read(from_helper, at, len);
        CU_ASSERT_FATAL(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

/* Send an order; frames of type 'P' go to patch, the closing one is parsed and returned. */
static cJSON *ask(char what, struct buf *patch)
{
    CU_ASSERT_EQUAL_FATAL(write(to_helper, &what, 1), 1);
    for (;;) {
        unsigned char head[SNAPSHOT_FRAME_HEAD];
        uint32_t len;
        struct arp_err err;
        read_exact(head, sizeof(head));
        memcpy(&len, head + 1, sizeof(len));
        len = ntohl(len);
        char *data = malloc(len + 1);
        read_exact(data, len);
        cJSON *obj = NULL;
        if (head[0] == 'P')
            buf_append(patch, data, len);
        else
            CU_ASSERT_EQUAL_FATAL(json_parse(data, len, &obj, &err), 0);
        free(data);
        if (obj)
            return obj;
    }
}

static void snapshot_tree(char ret[64], const char *key)
{
    cJSON *s = ask('S', NULL);
    const char *value = json_get_str(s, key);
    snprintf(ret, 64, "%s", value ? value : "");
    cJSON_Delete(s);
}

static void snapshot_tree_equals_gits_own(void)
{
    char ours[64], gits[64];
    helper_start();
    sh("git init -q -b main && printf '*.o\\nout/\\n' > .gitignore && mkdir -p a/b out && echo 1 > a/b/f && "
       "echo o > x.o && echo y > out/y && "
       "ln -s /etc/passwd l && echo s > run.sh && chmod +x run.sh && git add -A && git commit -qm 1",
        NULL, 0);
    sh("git rev-parse HEAD^{tree}", gits, sizeof(gits));
    cJSON *s = ask('S', NULL);
    ASSERT_STR(json_get_str(s, "tree"), gits);
    ASSERT_STR(json_get_str(s, "headTree"), gits);
    ASSERT_STR(json_get_str(s, "branch"), "main");
    cJSON_Delete(s);
    sh("git add -f x.o && git commit -qm 2 && echo changed > x.o && echo new > new && rm run.sh", NULL, 0);
    snapshot_tree(ours, "tree");
    sh("git add -A && git write-tree", gits, sizeof(gits));
    ASSERT_STR(ours, gits);
    helper_stop();
}

static void snapshot_patch_applies_to_the_recorded_tree(void)
{
    char after[64], applied[64], path[128], script[256];
    struct buf patch;
    struct arp_err err;
    buf_init(&patch, 1 << 22);
    helper_start();
    sh("git init -q && printf 'a\\nb\\n' > t && head -c 3000 /dev/urandom > bin && ln -s t l && git add -A "
       "&& git commit -qm 1",
        NULL, 0);
    cJSON_Delete(ask('S', NULL));
    sh("cp -r . ../copy && echo c >> t && head -c 3000 /dev/urandom > bin && rm l && chmod +x t && mkdir n "
       "&& echo u > 'n/sp ace'",
        NULL, 0);
    snapshot_tree(after, "tree");
    cJSON *end = ask('D', &patch);
    ASSERT_INT(json_get_int(end, "filesChanged", -1), 4);
    ASSERT_INT(json_get_bool(end, "truncated", true), 0);
    cJSON_Delete(end);
    snprintf(path, sizeof(path), "%s/p", root);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_INT(fd_write_all(fd, patch.data, patch.len, &err), 0);
    close(fd);
    snprintf(script, sizeof(script), "%s",
        "cd ../copy && git reset -q --hard && git apply --index ../p && git write-tree");
    sh(script, applied, sizeof(applied));
    ASSERT_STR(applied, after);
    buf_done(&patch);
    helper_stop();
}

static void snapshot_survives_a_hostile_repository(void)
{
    char tree[64];
    struct buf patch;
    buf_init(&patch, 1 << 20);
    helper_start();
    sh("git init -q && echo 1 > f && git add f && git commit -qm 1", NULL, 0);
    snapshot_tree(tree, "tree");
    ASSERT_INT(strlen(tree), 40);
    sh("mkfifo ff d.fifo && mkdir sub && mkfifo sub/.gitignore && echo i > sub/i && ln -s sub sl && mkdir "
       ".GIT && echo q > .GIT/q && "
       "echo w > 'git~1' && mkdir nest && git -C nest init -q && echo z > nest/z && printf "
       "'[core]\\nworktree=/\\n[include]\\npath=/dev/zero\\n' >> .git/config",
        NULL, 0);
    cJSON *s = ask('S', NULL);
    ASSERT_INT(strlen(json_get_str(s, "tree")), 40);
    ASSERT_TRUE(json_get_int(s, "skipped", 0) >= 3);
    cJSON_Delete(s);
    sh("for r in .git/refs/heads/*; do rm $r && mkfifo $r; done", NULL, 0);
    s = ask('S', NULL);
    ASSERT_TRUE(json_get_str(s, "error") != NULL);
    ASSERT_INT(strlen(json_get_str(s, "tree")), 40);
    cJSON_Delete(s);
    sh("rm .git/config && mkfifo .git/config", NULL, 0);
    s = ask('S', NULL);
    ASSERT_CONTAINS(json_get_str(s, "error"), "regular");
    ASSERT_INT(strlen(json_get_str(s, "tree")), 40);
    cJSON_Delete(s);
    sh("rm -rf .git && rm f", NULL, 0);
    s = ask('S', NULL);
    ASSERT_CONTAINS(json_get_str(s, "error"), "repository");
    cJSON_Delete(s);
    cJSON *end = ask('D', &patch);
    ASSERT_TRUE(json_get_str(end, "error") == NULL);
    ASSERT_CONTAINS(buf_str(&patch), "deleted file mode 100644");
    ASSERT_CONTAINS(buf_str(&patch), "nest/z");
    cJSON_Delete(end);
    buf_done(&patch);
    helper_stop();
}

static void snapshot_sees_a_change_that_keeps_size_and_mtime(void)
{
    char one[64], two[64];
    helper_start();
    sh("echo aaaa > f && touch -d '2020-01-01' f && sleep 0.1", NULL, 0);
    snapshot_tree(one, "tree");
    sh("echo bbbb > f && touch -d '2020-01-01' f", NULL, 0);
    snapshot_tree(two, "tree");
    ASSERT_TRUE(strcmp(one, two) != 0);
    helper_stop();
}

static void init_repo_makes_one_empty_commit(void)
{
    char text[64];
    helper_start();
    ASSERT_INT(init_repo_main(root), 0);
    sh("git -c safe.directory='*' log --format=%s main", text, sizeof(text));
    ASSERT_STR(text, "Empty workspace");
    sh("test -d results && test -d artifacts && echo yes", text, sizeof(text));
    ASSERT_STR(text, "yes");
    helper_stop();
}

TEST_SUITE(snapshot_proc_test, TEST(snapshot_tree_equals_gits_own),
    TEST(snapshot_patch_applies_to_the_recorded_tree), TEST(snapshot_survives_a_hostile_repository),
    TEST(snapshot_sees_a_change_that_keeps_size_and_mtime), TEST(init_repo_makes_one_empty_commit))
