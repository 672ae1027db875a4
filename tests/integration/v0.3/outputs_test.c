/*
 * What a run leaves behind, through the real orchestrator and container: the manifest of its artifacts and the diff of its repository,
 * when the workload makes both as hard as it can.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/docker.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

static struct stack *stack;

static int set_up(void)
{
    static const char *const env[] = {"ARP_ARTIFACTS=results/**,artifacts/**,out/logs/**", NULL};
    stack = stack_start(env);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack_stop(stack);
}

/* Run one shell script to its success; open the bundle and check it with arpctl. */
static void run_script(const struct tenant *t, const char *script, struct record *ret)
{
    ASSERT_TRUE(record_script(stack, t, script, ret));
}

static const char *stdout_of(const struct record *rec)
{
    return str_at(rec->commands.obj[0], "stdout");
}

static const cJSON *artifact(const struct record *rec, const char *path)
{
    const cJSON *a;
    cJSON_ArrayForEach(a, json_at(rec->outputs, "artifacts"))
    {
        if (strcmp(str_at(a, "path"), path) == 0)
            return a;
    }
    return NULL;
}

static int artifact_count(const struct record *rec)
{
    return cJSON_GetArraySize(json_at(rec->outputs, "artifacts"));
}

/* --- manifest -------------------------------------------------------------------------------------------------------------------- */

static void configured_directories_are_listed_and_no_others(void)
{
    struct tenant t;
    struct record rec;
    ASSERT_TRUE(stack_tenant(stack, "patterns", -1, &t));
    run_script(&t,
        "mkdir -p out/logs/deep out/other && for f in out/logs/deep/a out/b out/other/c results/d e; do echo "
        "$f > $f; done",
        &rec);
    ASSERT_INT(artifact_count(&rec), 2);
    ASSERT_TRUE(artifact(&rec, "out/logs/deep/a") && artifact(&rec, "results/d"));
    ASSERT_TRUE(cJSON_IsFalse(json_at(rec.outputs, "artifactsTruncated")));
    ASSERT_TRUE(cJSON_IsTrue(json_at(rec.outputs, "artifactsTotalExact")));
    record_done(&rec);
}

static void expect_type(const struct record *rec, const char *path, const char *type)
{
    const cJSON *a = artifact(rec, path);
    ASSERT_TRUE(a != NULL);
    ASSERT_STR(str_at(a, "type"), type);
    ASSERT_TRUE(cJSON_IsNull(json_at(a, "checksum")));
}

/* Every kind of file uid 1000 can make. Nothing is followed, nothing hangs, all is named. */
static void hostile_artifacts_are_named_and_not_followed(void)
{
    struct tenant t;
    struct record rec;
    ASSERT_TRUE(stack_tenant(stack, "hostile", -1, &t));
    run_script(&t,
        "cd results && ln -s /workspace/evidence evidence && ln -s /etc/shadow shadow && ln -s "
        "/proc/1/environ environ && ln -s loop loop && "
        "mkfifo fifo && python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('sock')\" && printf x "
        "> \"$(printf 'a\\nb')\" && "
        "printf x > \"$(printf '\\377\\376')\" && printf hi > closed && chmod 0 closed && mkdir dir && "
        "printf y > dir/f && chmod 0 dir && "
        "printf hi > one && ln one two && truncate -s 8G sparse && python3 -c \"import os\nfor i in "
        "range(70): os.mkdir('d'); "
        "os.chdir('d'); open('f', 'w')\"",
        &rec);
    expect_type(&rec, "results/evidence", "symlink");
    expect_type(&rec, "results/shadow", "symlink");
    expect_type(&rec, "results/environ", "symlink");
    expect_type(&rec, "results/loop", "symlink");
    expect_type(&rec, "results/fifo", "fifo");
    expect_type(&rec, "results/sock", "socket");
    expect_type(&rec, "results/sparse", "file");
    ASSERT_TRUE(num_at(artifact(&rec, "results/sparse"), "sizeBytes") == 8589934592.0);
    ASSERT_CONTAINS(str_at(artifact(&rec, "results/sparse"), "error"), "limit");
    ASSERT_TRUE(artifact(&rec, "results/a\nb") != NULL);
    ASSERT_STR(str_at(artifact(&rec, "results/\\xff\\xfe"), "pathBase64"), "cmVzdWx0cy///g==");
    char want[80], hex[65];
    hex_sha256("hi", 2, hex);
    snprintf(want, sizeof(want), "sha256:%s", hex);
    static const char *const his[] = {"results/closed", "results/one", "results/two"};
    for (int i = 0; i < 3; i++)
        ASSERT_STR(str_at(artifact(&rec, his[i]), "checksum"), want);
    ASSERT_STR(str_at(artifact(&rec, "results/closed"), "mode"), "0000");
    ASSERT_TRUE(str_at(artifact(&rec, "results/dir/f"), "checksum") != NULL);
    ASSERT_INT(
        artifact_count(&rec), 13 + 64 + 1); /* 64 levels of files, then the directory that is too deep */
    record_done(&rec);
}

static void more_artifacts_than_the_list_holds_are_counted(void)
{
    struct tenant t;
    struct record rec;
    ASSERT_TRUE(stack_tenant(stack, "many", -1, &t));
    double begun = seconds();
    run_script(&t,
        "echo /results/ > .gitignore && python3 -c \"import os\nfor i in range(100050): "
        "os.close(os.open('results/%06d' % (i * 7919 % "
        "100050), os.O_CREAT | os.O_WRONLY))\"",
        &rec);
    printf(
        "%.1f s, the command %.1f s ", seconds() - begun, num_at(rec.commands.obj[0], "durationMs") / 1000);
    ASSERT_INT(artifact_count(&rec), 100000);
    ASSERT_INT(num_at(rec.outputs, "artifactsTotal"), 100050);
    ASSERT_TRUE(cJSON_IsTrue(json_at(rec.outputs, "artifactsTruncated")));
    const cJSON *last = cJSON_GetArrayItem(json_at(rec.outputs, "artifacts"), 99999);
    ASSERT_STR(str_at(last, "path"), "results/099999");
    record_done(&rec);
}

/* --- diff ------------------------------------------------------------------------------------------------------------------------ */

/* Every door through which a repository makes git run a program, each with a command that leaves a file in /tmp/ran. */
static const char traps[] =
    "mkdir -m 777 /tmp/ran && printf '#!/bin/sh\\ntouch /tmp/ran/$1.$$\\ncat\\n' > /tmp/trap && chmod 755 "
    "/tmp/trap && T=/tmp/trap && "
    "printf '* filter=evil diff=evil merge=evil text eol=crlf working-tree-encoding=UTF-16 ident\\n' > "
    ".gitattributes && "
    "mkdir -p .git/info .git/hooks && cp .gitattributes .git/info/attributes && "
    "for h in fsmonitor-watchman post-index-change pre-commit post-checkout reference-transaction; do "
    "printf '#!/bin/sh\\ntouch /tmp/ran/hook\\n' > .git/hooks/$h && chmod +x .git/hooks/$h; done && "
    "cat >> .git/config <<EOF\n"
    "[core]\n fsmonitor=$T fsmonitor\n hooksPath=$PWD/.git/hooks\n editor=$T editor\n pager=$T pager\n "
    "sshCommand=$T ssh\n gitProxy=$T proxy\n"
    " autocrlf=true\n attributesFile=$PWD/.gitattributes\n"
    "[filter \"evil\"]\n clean=$T clean\n smudge=$T smudge\n process=$T process\n required=true\n"
    "[diff \"evil\"]\n textconv=$T textconv\n command=$T diff\n[diff]\n external=$T external\n[merge "
    "\"evil\"]\n driver=$T merge\n"
    "[credential]\n helper=!$T cred\n[gpg]\n program=$T gpg\n"
    "[remote \"o\"]\n url=ext::$T remote\n promisor=true\n partialclonefilter=blob:none\n[extensions]\n "
    "partialClone=o\n"
    "EOF\nprintf 'a\\nb\\n' > f";

static void nothing_the_repository_configures_is_run(void)
{
    struct tenant t;
    struct record rec;
    size_t len;
    ASSERT_TRUE(stack_tenant(stack, "traps", -1, &t));
    run_script(&t, traps, &rec);
    record_done(&rec);
    run_script(&t, "printf 'c\\n' >> f && touch -d 2001-01-01 f", &rec);
    char *patch = read_bytes(rec.dir, "diff.patch", &len);
    ASSERT_CONTAINS(patch, " a\n b\n+c\n");
    free(patch);
    record_done(&rec);
    run_script(&t,
        "ls -A /tmp/ran | wc -l; git status >/dev/null 2>&1; git add -A >/dev/null 2>&1; ls -A /tmp/ran | wc "
        "-l",
        &rec);
    ASSERT_TRUE(strncmp(stdout_of(&rec), "0\n", 2) == 0); /* two runs, four snapshots, two diffs */
    ASSERT_TRUE(atoi(stdout_of(&rec) + 2) >= 1);          /* git itself steps on the traps */
    record_done(&rec);
}

static void moved_files_are_named_and_the_patch_stays_small(void)
{
    struct tenant t;
    struct record rec;
    size_t len;
    ASSERT_TRUE(stack_tenant(stack, "moved", -1, &t));
    run_script(&t,
        "mkdir d && for i in $(seq 300); do seq $i 600 > d/$i; done && head -c 100000 /dev/urandom > bin",
        &rec);
    record_done(&rec);
    run_script(&t, "mv d e && mv bin binary && chmod +x binary", &rec);
    char *patch = read_bytes(rec.dir, "diff.patch", &len);
    ASSERT_TRUE(len < 60000);
    ASSERT_CONTAINS(patch,
        "old mode 100644\nnew mode 100755\nsimilarity index 100%\nrename from bin\nrename to binary\n");
    ASSERT_INT(num_at(rec.outputs, "diffSummary.filesChanged"), 301);
    free(patch);
    record_done(&rec);
}

#define NEW_REPOSITORY                                                                                       \
    "rm -rf .git && git init -q -b main && git -c user.name=t -c user.email=t@t commit -q --allow-empty -m " \
    "1 && "

/* Broken on purpose, in ways that cost time or memory: the run ends well, the reason is recorded, the diff is that of the files. */
static void broken_repository_costs_its_commit_not_the_diff(void)
{
    static const char *const breaks[] = {NEW_REPOSITORY "truncate -s 4G .git/refs/heads/main",
        NEW_REPOSITORY "rm -rf .git && mkfifo .git",
        NEW_REPOSITORY "rm -rf .git && ln -s /workspace/evidence .git",
        NEW_REPOSITORY "rm -rf .git && echo 'gitdir: /workspace/.arp/git' > .git"};
    struct tenant t;
    ASSERT_TRUE(stack_tenant(stack, "broken", -1, &t));
    for (size_t i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
        struct record rec;
        char script[64];
        run_script(&t, breaks[i], &rec);
        record_done(&rec);
        double begun = seconds();
        snprintf(script, sizeof(script), "echo new > results/file%zu", i);
        run_script(&t, script, &rec);
        ASSERT_TRUE(seconds() - begun < 15);
        ASSERT_INT(num_at(rec.outputs, "diffSummary.filesChanged"), 1);
        ASSERT_TRUE(cJSON_IsNull(json_at(rec.outputs, "gitCommit")));
        record_done(&rec);
    }
}

static void large_repository_is_cheap_to_look_at_again(void)
{
    struct tenant t;
    struct record rec;
    ASSERT_TRUE(stack_tenant(stack, "large", -1, &t));
    double begun = seconds();
    run_script(&t,
        "python3 -c \"import os\nfor d in range(200):\n os.mkdir('d%d' % d)\n for i in range(250): "
        "open('d%d/f%d' % (d, i), "
        "'w').write('file %d %d' % (d, i))\"",
        &rec);
    double first = seconds() - begun - num_at(rec.commands.obj[0], "durationMs") / 1000;
    ASSERT_INT(num_at(rec.outputs, "diffSummary.filesChanged"), 50000);
    record_done(&rec);
    /* Of three, as others may have the machine for the time of one. */
    struct reply r = {0};
    double second = first;
    for (int i = 0; i < 3; i++) {
        begun = seconds();
        ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 200);
        double took = seconds() - begun;
        second = took < second ? took : second;
    }
    reply_done(&r);
    printf("first %.1f s without its command, second %.2f s ", first, second);
    ASSERT_TRUE(second < first / 2);
}

TEST_SUITE_WITH(outputs_test, set_up, tear_down, TEST(configured_directories_are_listed_and_no_others),
    TEST(hostile_artifacts_are_named_and_not_followed), TEST(more_artifacts_than_the_list_holds_are_counted),
    TEST(nothing_the_repository_configures_is_run), TEST(moved_files_are_named_and_the_patch_stays_small),
    TEST(broken_repository_costs_its_commit_not_the_diff), TEST(large_repository_is_cheap_to_look_at_again))
