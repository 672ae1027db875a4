/*
 * The frame of an escape attempt: a static program that tries one thing from inside a workspace and says on one line how it went.
 *   DENIED <errno name>   exit 0   the kernel, or the agent in its name, refused
 *   CONTAINED <how>       exit 0   it was allowed and reached nothing beyond the command
 *   ESCAPED <what>        exit 1   it worked
 *   UNTRIED <why>         exit 2   it could not be tried, so nothing was shown
 * attempts.h lists every program and what its run's record must show. Header only, because each program is one file.
 */
#ifndef ARP_TESTS_ESCAPE_ATTEMPT_H
#define ARP_TESTS_ESCAPE_ATTEMPT_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The line, and the end. _exit: nothing an attempt set up may run after it. */
__attribute__((format(printf, 3, 0))) static inline _Noreturn void attempt_end(
    int code, const char *word, const char *form, va_list args)
{
    char text[400];
    vsnprintf(text, sizeof(text), form, args);
    dprintf(STDOUT_FILENO, "%s %s\n", word, text);
    _exit(code);
}

#define ATTEMPT_WORD(name, code, word)                                                                       \
    __attribute__((format(printf, 1, 2), unused)) static _Noreturn void name(const char *form, ...)          \
    {                                                                                                        \
        va_list args;                                                                                        \
        va_start(args, form);                                                                                \
        attempt_end(code, word, form, args);                                                                 \
    }
ATTEMPT_WORD(contained, 0, "CONTAINED")
ATTEMPT_WORD(escaped, 1, "ESCAPED")
ATTEMPT_WORD(untried, 2, "UNTRIED")

static inline _Noreturn void denied(int sys_errno)
{
    dprintf(STDOUT_FILENO, "DENIED %s\n", strerrorname_np(sys_errno));
    _exit(0);
}

/* End by what the attempted call returned; what: its success in words. An errno that blames the arguments means that the attempt was
 * not a real one: nobody refused it. */
static inline _Noreturn void attempt_result(long rc, const char *what)
{
    if (rc >= 0)
        escaped("%s", what);
    if (errno == EFAULT || errno == EINVAL || errno == EBADF || errno == E2BIG)
        untried("%s: %s", what, strerrorname_np(errno));
    denied(errno);
}

/* Run fn in a child and return its wait status: for attempts that the kernel may answer with a signal. */
static inline int attempt_in_child(void (*fn)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid < 0)
        untried("fork: %s", strerrorname_np(errno));
    if (pid == 0) {
        fn();
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            untried("waitpid: %s", strerrorname_np(errno));
    return status;
}

#endif
