/*
 * Execute a program from a thread that is not the first: the process keeps its number, the caller loses its own.
 */
#include <pthread.h>

#include "tests/escape/attempt.h"

static void *execute(void *arg)
{
    (void)arg;
    execl("/bin/echo", "echo", "CONTAINED executed from a thread", (char *)NULL);
    denied(errno);
}

int main(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, execute, NULL) != 0)
        untried("no thread");
    for (;;)
        pause();
}
