/*
 * Tests of agent/snapshot_proc.c and agent/worktree.c: the helper's protocol on pipes, on repositories made hostile. The git program is the
 * judge: a patch must turn its tree into ours.
 */
#include "agent/snapshot_proc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"

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

/* Apply patch to the copy of the repository that the script "copy" kept; the tree git then has must be after. */
static void expect_applies(const struct buf *patch, const char *after)
{
    char applied[64], path[128];
    struct arp_err err;
    snprintf(path, sizeof(path), "%s/p", root);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT_INT(fd_write_all(fd, buf_str(patch), patch->len, &err), 0);
    close(fd);
    sh("cd ../copy && git reset -q --hard && git apply --index ../p && git write-tree", applied,
        sizeof(applied));
    ASSERT_STR(applied, after);
}

static void snapshot_patch_applies_to_the_recorded_tree(void)
{
    char after[64];
    struct buf patch;
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
    expect_applies(&patch, after);
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

static void moved_files_and_modes_are_named_not_rewritten(void)
{
    char after[64];
    struct buf patch;
    buf_init(&patch, 1 << 22);
    helper_start();
    sh("git init -q && mkdir d && for i in $(seq 200); do seq $i 500 > d/$i; done && head -c 90000 "
       "/dev/urandom > bin && "
       "echo run > tool && : > empty && git add -A && git commit -qm 1",
        NULL, 0);
    cJSON_Delete(ask('S', NULL));
    sh("cp -r . ../copy && mv d moved && mv bin binary && chmod +x tool && mv empty still-empty", NULL, 0);
    snapshot_tree(after, "tree");
    cJSON *end = ask('D', &patch);
    ASSERT_TRUE(patch.len < 50000);
    ASSERT_CONTAINS(buf_str(&patch), "rename from bin\nrename to binary\n");
    ASSERT_CONTAINS(buf_str(&patch), "old mode 100644\nnew mode 100755\n");
    ASSERT_INT(json_get_int(end, "insertions", -1), 0);
    cJSON_Delete(end);
    expect_applies(&patch, after);
    buf_done(&patch);
    helper_stop();
}

static void submodules_are_their_commits(void)
{
    char ours[64], gits[64];
    struct buf patch;
    buf_init(&patch, 1 << 22);
    helper_start();
    sh("git init -q ../lib && git -C ../lib commit -q --allow-empty -m lib && git init -q && git -c "
       "protocol.file.allow=always "
       "submodule --quiet add ../lib sub && git commit -qm 1",
        NULL, 0);
    sh("git rev-parse HEAD^{tree}", gits, sizeof(gits));
    snapshot_tree(ours, "tree");
    ASSERT_STR(ours, gits);
    sh("echo x > sub/f && git -C sub add f && git -C sub commit -qm 2 && echo untracked > sub/g", NULL, 0);
    snapshot_tree(ours, "tree");
    sh("git add -A && git write-tree", gits, sizeof(gits));
    ASSERT_STR(ours, gits);
    cJSON_Delete(ask('D', &patch));
    ASSERT_CONTAINS(buf_str(&patch), "+Subproject commit ");
    buf_done(&patch);
    helper_stop();
}

static void ignored_files_stay_out_as_in_git(void)
{
    char ours[64], gits[64];
    helper_start();
    sh("git init -q && printf '*.log\\n!keep.log\\n/top\\nbuild/\\n' > .gitignore && mkdir -p a/b build top "
       "a/top && printf '!*.log\\n' "
       "> a/.gitignore && "
       "for f in x.log keep.log top/f build/o a/x.log a/b/y.log a/top/f 'sp ace'; do echo $f > \"$f\"; done",
        NULL, 0);
    snapshot_tree(ours, "tree");
    sh("git add -A && git write-tree", gits, sizeof(gits));
    ASSERT_STR(ours, gits);
    /* The rules change: what was left out comes in, though its files did not change. */
    sh("printf 'a/\\n' > .gitignore", NULL, 0);
    snapshot_tree(ours, "tree");
    sh("git rm -rqf --cached . && git add -A && git write-tree", gits, sizeof(gits));
    ASSERT_STR(ours, gits);
    helper_stop();
}

static void repository_without_commits_has_a_tree(void)
{
    struct buf patch;
    buf_init(&patch, 1 << 20);
    helper_start();
    sh("git init -q -b trunk", NULL, 0);
    cJSON *s = ask('S', NULL);
    ASSERT_INT(json_get_bool(s, "unborn", false), true);
    ASSERT_STR(json_get_str(s, "tree"), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
    ASSERT_TRUE(json_get_str(s, "error") == NULL && json_get_str(s, "commit") == NULL);
    cJSON_Delete(s);
    sh("echo 1 > f", NULL, 0);
    cJSON_Delete(ask('S', NULL));
    cJSON_Delete(ask('D', &patch));
    ASSERT_CONTAINS(buf_str(&patch), "new file mode 100644");
    buf_done(&patch);
    helper_stop();
}

/* Each leaves a repository whose HEAD can't be read: the reason is said, the tree of the files is there all the same. */
static void broken_repositories_give_a_reason_and_a_tree(void)
{
    static const char *const scripts[] = {
        "rm .git/HEAD",
        "echo garbage > .git/HEAD",
        "printf '\\000\\377' > .git/HEAD",
        "rm .git/HEAD && mkdir .git/HEAD",
        "rm -rf .git/objects && mkdir .git/objects",
        "for o in $(find .git/objects -type f); do chmod u+w $o && printf junk > $o; done",
        "rm -rf .git/objects",
        "truncate -s 3G .git/HEAD",
        "echo 0000000000000000000000000000000000000001 > .git/refs/heads/main",
        "printf 'ref: refs/heads/main' > .git/refs/heads/main",
        "rm -rf .git && echo 'gitdir: /nowhere' > .git",
        "rm -rf .git && echo nonsense > .git",
        "rm -rf .git && ln -s /proc/self .git",
        "rm -rf .git && ln -s .git .git",
        "rm -rf .git && truncate -s 5G .git",
        "printf '[core]\\nrepositoryformatversion = 99\\n' > .git/config",
        "printf '[unclosed' > .git/config",
        "chmod 0 .git/HEAD && rm -rf .git/refs .git/objects",
#ifndef __SANITIZE_ADDRESS__ /* which has no limit of memory: there it is read, and is a commit */
        "truncate -s 3G .git/refs/heads/main",
#endif
    };
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        char tree[64];
        helper_start();
        sh("git init -q -b main && echo 1 > f && git add f && git commit -qm 1", NULL, 0);
        snapshot_tree(tree, "tree");
        sh(scripts[i], NULL, 0);
        int64_t start = clock_mono_ns();
        cJSON *s = ask('S', NULL);
        if (!json_get_str(s, "error") || !json_get_str(s, "tree") ||
            strcmp(json_get_str(s, "tree"), tree) != 0)
            printf("after: %s\n", scripts[i]);
        ASSERT_TRUE(json_get_str(s, "error") != NULL && json_get_str(s, "commit") == NULL);
        ASSERT_STR(json_get_str(s, "tree"), tree);
        ASSERT_TRUE(clock_mono_ns() - start < 20000000000ll);
        cJSON_Delete(s);
        helper_stop();
    }
}

/* Forms of .git that git knows, and one that it takes for a bare repository. */
static void odd_forms_of_git_are_read(void)
{
    char commit[64], want[64];
    helper_start();
    sh("git init -q ../real && git -C ../real commit -q --allow-empty -m 1 && cd .. && rmdir repo && git -C "
       "real worktree add -q "
       "../repo",
        NULL, 0);
    sh("git rev-parse HEAD", want, sizeof(want));
    snapshot_tree(commit, "commit");
    ASSERT_STR(commit, want);
    sh("rm .git && ln -s ../real/.git .git", NULL, 0);
    snapshot_tree(commit, "commit");
    ASSERT_STR(commit, want);
    sh("rm .git && git init -q --bare . && echo work > file", NULL, 0);
    cJSON *s = ask('S', NULL);
    ASSERT_INT(strlen(json_get_str(s, "tree")), 40);
    ASSERT_TRUE(json_get_str(s, "commit") == NULL);
    cJSON_Delete(s);
    helper_stop();
}

/* Nothing at all where the repository should be, or a link to somewhere else, is no tree, and never a diff without changes. */
static void missing_or_replaced_repository_is_no_tree(void)
{
    static const char *const scripts[] = {"cd .. && rmdir repo",
        "git init -q ../other && git -C ../other commit -q --allow-empty -m 1 && echo secret > ../other/f && "
        "cd .. && rmdir repo && ln -s "
        "other repo",
        "cd .. && rmdir repo && echo file > repo", "cd .. && rmdir repo && mkfifo repo"};
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        struct buf patch;
        char path[128];
        buf_init(&patch, 1 << 20);
        helper_start();
        sh(scripts[i], NULL, 0);
        cJSON *s = ask('S', NULL);
        ASSERT_TRUE(json_get_str(s, "tree") == NULL && json_get_str(s, "commit") == NULL);
        ASSERT_TRUE(json_get_str(s, "treeError") != NULL && json_get_str(s, "error") != NULL);
        cJSON_Delete(s);
        snprintf(path, sizeof(path), "%s/repo", root);
        remove(path);
        ASSERT_INT(mkdir(path, 0755), 0);
        sh("echo 1 > f", NULL, 0);
        s = ask('S', NULL);
        ASSERT_TRUE(json_get_str(s, "tree") != NULL);
        cJSON_Delete(s);
        cJSON *end = ask('D', &patch);
        ASSERT_CONTAINS(json_get_str(end, "error"), "two trees");
        ASSERT_INT(patch.len, 0);
        cJSON_Delete(end);
        buf_done(&patch);
        helper_stop();
    }
}

/* Every door through which a repository makes git run a program, each with a command that leaves a file. */
#define TRAPS                                                                                                \
    "mkdir ../ran && M=$(cd ../ran && pwd) && cat > ../trap <<'EOF'\n#!/bin/sh\ntouch \"$(dirname "          \
    "\"$0\")/ran/$1\"\ncat\nEOF\n"                                                                           \
    "chmod +x ../trap && T=$(cd .. && pwd)/trap && git init -q -b main && "                                  \
    "printf '* filter=evil diff=evil merge=evil text eol=crlf working-tree-encoding=UTF-16 ident\\n' > "     \
    ".gitattributes && "                                                                                     \
    "mkdir -p .git/info && cp .gitattributes .git/info/attributes && "                                       \
    "for h in .git/hooks/fsmonitor-watchman .git/hooks/post-index-change .git/hooks/pre-commit "             \
    ".git/hooks/post-checkout "                                                                              \
    ".git/hooks/reference-transaction; do printf '#!/bin/sh\\ntouch '$M'/hook\\n' > $h && chmod +x $h; "     \
    "done && "                                                                                               \
    "printf '[core]\\nfsmonitor=%s fsmonitor\\nhooksPath=%s/.git/hooks\\neditor=%s editor\\npager=%s "       \
    "pager\\nsshCommand=%s "                                                                                 \
    "ssh\\ngitProxy=%s "                                                                                     \
    "proxy\\nautocrlf=true\\nattributesFile=%s/.gitattributes\\nexcludesFile=%s/all\\n[filter "              \
    "\"evil\"]\\nclean=%s "                                                                                  \
    "clean\\nsmudge=%s smudge\\nprocess=%s process\\nrequired=true\\n[diff \"evil\"]\\ntextconv=%s "         \
    "textconv\\ncommand=%s "                                                                                 \
    "diff\\n[diff]\\nexternal=%s external\\n[merge \"evil\"]\\ndriver=%s merge\\n[credential]\\nhelper=!%s " \
    "cred\\n[gpg]\\nprogram=%s "                                                                             \
    "gpg\\n[remote \"o\"]\\nurl=ext::%s "                                                                    \
    "remote\\npromisor=true\\npartialclonefilter=blob:none\\n[extensions]\\npartialClone=o\\n' \"$T\" "      \
    "\"$PWD\" \"$T\" \"$T\" \"$T\" \"$T\" \"$PWD\" \"$PWD\" \"$T\" \"$T\" \"$T\" \"$T\" \"$T\" \"$T\" "      \
    "\"$T\" \"$T\" \"$T\" \"$T\" "                                                                           \
    ">> .git/config && printf '*\\n' > all && printf 'a\\nb\\n' > f"

static void nothing_the_repository_configures_is_run(void)
{
    char line[64], ours[64];
    struct buf patch;
    buf_init(&patch, 1 << 20);
    helper_start();
    sh(TRAPS, NULL, 0);
    cJSON_Delete(ask('S', NULL));
    sh("printf 'c\\n' >> f && touch -d 2001-01-01 f && git -C . rev-parse --git-dir > /dev/null", NULL, 0);
    snapshot_tree(ours, "tree");
    cJSON_Delete(ask('D', &patch));
    ASSERT_CONTAINS(buf_str(&patch), " a\n b\n+c\n"); /* the bytes as they are: no filter, no line ends */
    sh("ls ../ran | wc -l", line, sizeof(line));
    ASSERT_STR(line, "0");
    /* The traps work: git itself steps on them. */
    sh("git status > /dev/null 2>&1 || :; git add -A > /dev/null 2>&1 || :; ls ../ran | wc -l", line,
        sizeof(line));
    ASSERT_TRUE(atoi(line) >= 2);
    buf_done(&patch);
    helper_stop();
}

static int64_t timed_snapshot(char tree[64])
{
    int64_t start = clock_mono_ns();
    snapshot_tree(tree, "tree");
    return (clock_mono_ns() - start) / 1000000;
}

/* The second look at a large repository costs a look at each file's stat data, not at its bytes. */
static void second_snapshot_of_50000_files_is_cheap(void)
{
    char one[64], two[64], three[64], gits[64];
    struct buf patch;
    buf_init(&patch, 1 << 22);
    helper_start();
    sh("git init -q", NULL, 0);
    char path[128], text[64];
    for (int i = 0; i < 50000; i++) {
        if (i % 250 == 0) {
            snprintf(path, sizeof(path), "%s/repo/d%03d", root, i / 250);
            CU_ASSERT_EQUAL_FATAL(mkdir(path, 0755), 0);
        }
        snprintf(path, sizeof(path), "%s/repo/d%03d/f%05d", root, i / 250, i);
        snprintf(text, sizeof(text), "file %d\n", i * 3);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        CU_ASSERT_EQUAL_FATAL(fd_write_all(fd, text, strlen(text), NULL), 0);
        close(fd);
    }
    usleep(50000);
    int64_t first_ms = timed_snapshot(one);
    int64_t second_ms = timed_snapshot(two);
    ASSERT_STR(two, one);
    sh("echo changed > d007/f01751 && mv d100 e100", NULL, 0);
    int64_t third_ms = timed_snapshot(three);
    int64_t start = clock_mono_ns();
    cJSON *end = ask('D', &patch);
    int64_t diff_ms = (clock_mono_ns() - start) / 1000000;
    printf("first %lld ms, second %lld ms, third %lld ms, diff %lld ms ", (long long)first_ms,
        (long long)second_ms, (long long)third_ms, (long long)diff_ms);
    ASSERT_INT(json_get_int(end, "filesChanged", -1), 251);
    ASSERT_TRUE(second_ms < first_ms / 2);
    cJSON_Delete(end);
    sh("git add -A && git write-tree", gits, sizeof(gits));
    ASSERT_STR(three, gits);
    buf_done(&patch);
    helper_stop();
}

static void huge_files_are_left_out_or_compared_as_binary(void)
{
    char after[64];
    struct buf patch;
    buf_init(&patch, LIMIT_DIFF);
    helper_start();
    sh("git init -q && yes line | head -c 30000000 > big && truncate -s 8G sparse && git add big && git "
       "commit -qm 1",
        NULL, 0);
    cJSON *s = ask('S', NULL);
    ASSERT_INT(json_get_int(s, "skipped", -1), 1);
    ASSERT_INT(json_get_int(s, "files", -1), 1);
    cJSON_Delete(s);
    sh("cp -r .git ../keep && mkdir ../copy && mv ../keep ../copy/.git && echo more >> big", NULL, 0);
    snapshot_tree(after, "tree");
    cJSON *end = ask('D', &patch);
    ASSERT_TRUE(json_get_str(end, "error") == NULL);
    ASSERT_CONTAINS(buf_str(&patch), "GIT binary patch");
    cJSON_Delete(end);
    expect_applies(&patch, after);
    buf_done(&patch);
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
    TEST(snapshot_sees_a_change_that_keeps_size_and_mtime),
    TEST(moved_files_and_modes_are_named_not_rewritten), TEST(submodules_are_their_commits),
    TEST(ignored_files_stay_out_as_in_git), TEST(repository_without_commits_has_a_tree),
    TEST(broken_repositories_give_a_reason_and_a_tree), TEST(odd_forms_of_git_are_read),
    TEST(missing_or_replaced_repository_is_no_tree), TEST(nothing_the_repository_configures_is_run),
    TEST(second_snapshot_of_50000_files_is_cheap), TEST(huge_files_are_left_out_or_compared_as_binary),
    TEST(init_repo_makes_one_empty_commit))
