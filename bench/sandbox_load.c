/*
 * What the benchmarks of the sandbox let a command do. Only libc, so that its start costs what that of any small program does.
 * usage: sandbox_load print MIB      write that much to standard output in blocks of 64 KiB
 *        sandbox_load threads N      N times pthread_create and pthread_join
 *        sandbox_load forks N        N times fork, exit, wait
 *        sandbox_load signals N      N times a signal to itself, with a handler
 *        sandbox_load hostile COMETS COMETS processes that fork and exit for ever, and sleepers that ignore signals until the limit
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int print(long mib)
{
    static char block[65536];
    memset(block, 'x', sizeof(block));
    for (long i = 0; i < mib * 16; i++) {
        for (size_t done = 0; done < sizeof(block);) {
            ssize_t n = write(1, block + done, sizeof(block) - done);
            if (n < 0)
                return 1;
            done += (size_t)n;
        }
    }
    return 0;
}

static void *thread_main(void *arg)
{
    return arg;
}

static int threads(long n)
{
    pthread_t t;
    while (n-- > 0) {
        if (pthread_create(&t, NULL, thread_main, NULL) != 0 || pthread_join(t, NULL) != 0)
            return 1;
    }
    return 0;
}

static int forks(long n)
{
    while (n-- > 0) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        if (pid < 0 || waitpid(pid, NULL, 0) != pid)
            return 1;
    }
    return 0;
}

static volatile sig_atomic_t got;

static void on_signal(int sig)
{
    got = sig;
}

static int signals(long n)
{
    signal(SIGUSR1, on_signal);
    while (n-- > 0)
        raise(SIGUSR1);
    return got == SIGUSR1 ? 0 : 1;
}

/* Its child does the same and it ends: never two moments in the same process. */
static _Noreturn void comet(void)
{
    for (;;) {
        pid_t pid = fork();
        if (pid > 0)
            _exit(0);
    }
}

static int hostile(long comets)
{
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_IGN);
    for (;;) {
        pid_t pid = fork();
        if (pid == 0 && comets > 0)
            comet();
        if (pid == 0)
            setsid();
        if (pid == 0 || (pid < 0 && errno != EAGAIN))
            break;
        comets -= pid > 0;
    }
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*call)(long n);
    } loads[] = {
        {"print", print}, {"threads", threads}, {"forks", forks}, {"signals", signals}, {"hostile", hostile}};
    for (size_t i = 0; argc == 3 && i < sizeof(loads) / sizeof(loads[0]); i++) {
        if (strcmp(argv[1], loads[i].name) == 0)
            return loads[i].call(strtol(argv[2], NULL, 10));
    }
    fprintf(stderr, "usage: sandbox_load print|threads|forks|signals|hostile N\n");
    return 2;
}
