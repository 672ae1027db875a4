/*
 * A suite that is killed can't remove what its stack made at the engine; whoever ran it can (ci_v0.3.sh, by .ci/docker.sh).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/docker.h"
#include "tests/support/pg.h"
#include "tests/support/retention.h"
#include "tests/support/suite.h"

#define NETWORK "arp-left-behind"

static char list[128];

/* A program with a stack of its own: a warm workspace and a cold one. Writes their ids and its directory to fd and waits to be killed. */
static void be_a_suite(int fd)
{
    struct tenant t[2];
    struct reply r = {0};
    setenv("ARP_TEST_MADE", list, 1);
    setenv("ARP_TEST_NETWORK", NETWORK, 1);
    struct stack *s = stack_start(NULL);
    bool ok = s && stack_tenant(s, "warm", -1, &t[0]) && stack_tenant(s, "cold", -1, &t[1]);
    for (int i = 0; i < 2 && ok; i++)
        ok = stack_run(s, &t[i], "[[\"true\"]]", &r) == 200;
    ok = ok && cool_workspace(s, &t[1]);
    if (ok)
        dprintf(fd, "%s %s %s\n", t[0].workspace_id, t[1].workspace_id, stack_state_dir(s));
    close(fd);
    for (;;)
        pause();
}

static void what_a_killed_suite_made_is_removed_by_its_list(void)
{
    char warm[40] = "", cold[40] = "", dir[160] = "", kept[64];
    int fds[2], st;
    ASSERT_TRUE(pg_url() != NULL); /* of this program, which lives on */
    snprintf(list, sizeof(list), "%s/installations", temp_dir());
    ASSERT_INT(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0)
        be_a_suite(fds[1]);
    close(fds[1]);
    FILE *f = fdopen(fds[0], "r");
    ASSERT_INT(fscanf(f, "%39s %39s %150s", warm, cold, dir), 3);
    fclose(f);
    kill(pid, SIGKILL);
    ASSERT_INT(waitpid(pid, &st, 0), pid);
    /* Another run's is none of its business. */
    ASSERT_TRUE(DOCKER("volume", "create", "--label", "arp.instance=00000000-bbbb-4bbb-8bbb-0123456789ab",
                    "arp-left-behind-kept") != NULL);
    ASSERT_TRUE(docker_container(warm)[0] != '\0' && docker_volume(cold)[0] != '\0');
    ASSERT_INT(RUN_ARGV(NULL, NULL, ".ci/docker.sh", "clean", NETWORK, list), 0);
    ASSERT_STR(docker_container(warm), "");
    ASSERT_STR(docker_volume(warm), "");
    ASSERT_STR(docker_volume(cold), "");
    ASSERT_STR(DOCKER("network", "ls", "-q", "--filter", "name=^" NETWORK "$"), "");
    snprintf(kept, sizeof(kept), "%s", DOCKER("volume", "ls", "-q", "--filter", "name=arp-left-behind-kept"));
    ASSERT_STR(kept, "arp-left-behind-kept");
    ASSERT_TRUE(DOCKER("volume", "rm", "arp-left-behind-kept") != NULL);
    strcat(dir, "/..");
    RUN_ARGV(NULL, NULL, "rm", "-rf", realpath(dir, NULL));
}

TEST_SUITE(left_behind_test, TEST(what_a_killed_suite_made_is_removed_by_its_list))
