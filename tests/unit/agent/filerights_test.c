/*
 * Tests of agent/filerights.c: whom the kernel takes the thread for.
 */
#include "agent/filerights.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/support/suite.h"

#define USER 31999

static char root[64];

/* Owner of a new file, -1 when it can't be made. */
static int make_file(const char *name)
{
    struct stat st;
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int owner = fstat(fd, &st) == 0 && st.st_uid == st.st_gid ? (int)st.st_uid : -2;
    close(fd);
    return owner;
}

static void *make_beside(void *ret_owner)
{
    *(int *)ret_owner = make_file("beside");
    return NULL;
}

static void thread_has_the_rights_of_the_user_until_it_gives_them_back(void)
{
    pthread_t other;
    int owner = -1;
    ASSERT_INT(chmod(root, 0700), 0);
    ASSERT_TRUE(file_rights_take(USER, USER));
    ASSERT_INT(make_file("closed"), -1);
    ASSERT_INT(errno, EACCES);
    file_rights_restore();
    ASSERT_INT(chmod(root, 0777), 0);
    ASSERT_TRUE(file_rights_take(USER, USER));
    ASSERT_INT(make_file("theirs"), USER);
    pthread_create(&other, NULL, make_beside, &owner); /* a new thread has those of its maker … */
    pthread_join(other, NULL);
    ASSERT_INT(owner, USER);
    file_rights_restore();
    ASSERT_INT(make_file("ours"), 0);
}

static pthread_barrier_t barrier;

static void *make_meanwhile(void *ret_owner)
{
    pthread_barrier_wait(&barrier);
    *(int *)ret_owner = make_file("meanwhile");
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void threads_that_are_there_keep_theirs(void)
{
    pthread_t other;
    int owner = -1;
    ASSERT_INT(chmod(root, 0777), 0);
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&other, NULL, make_meanwhile, &owner);
    ASSERT_TRUE(file_rights_take(USER, USER));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    file_rights_restore();
    pthread_join(other, NULL);
    pthread_barrier_destroy(&barrier);
    ASSERT_INT(owner, 0);
}

static void plain_user_is_told_that_it_can_not_become_another(void)
{
    int status;
    pid_t pid = fork();
    ASSERT_TRUE(pid >= 0);
    if (pid == 0) {
        bool refused = setgid(USER) == 0 && setuid(USER) == 0 && !file_rights_take(USER + 1, USER + 1);
        file_rights_restore();
        _exit(refused && file_rights_take(USER, USER) ? 0 : 1);
    }
    ASSERT_INT(waitpid(pid, &status, 0), pid);
    ASSERT_INT(status, 0);
}

static int set_up(void)
{
    temp_make(root);
    return geteuid() != 0;
}

static int tear_down(void)
{
    temp_remove(root);
    return 0;
}

TEST_SUITE_WITH(filerights_test, set_up, tear_down,
    TEST(thread_has_the_rights_of_the_user_until_it_gives_them_back),
    TEST(threads_that_are_there_keep_theirs), TEST(plain_user_is_told_that_it_can_not_become_another))
