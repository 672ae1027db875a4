/*
 * Change an argument from another thread while the kernel executes the program: who reads it first and who reads it last see
 * different ones. The record must say so of those that succeed.
 */
#include <pthread.h>

#include "tests/escape/attempt.h"

static char word[] = "honest";

static void *change(void *arg)
{
    for (volatile char *first = word;; *first ^= 'h' ^ 'H')
        (void)arg;
    return NULL;
}

static void execute(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, change, NULL) != 0)
        untried("no thread");
    execl("/proc/self/exe", "execute_changed", word, (char *)NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return argv[1][0] == '\0';
    for (int i = 0; i < 100; i++)
        attempt_in_child(execute);
    contained("100 executions with an argument that changed");
}
