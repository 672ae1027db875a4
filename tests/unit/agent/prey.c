/*
 * Prey: the workload of the sandbox's tests (tests/support/lab.h compiles it, dynamic and static). Its first argument says what to do. What
 * really ran is told on standard output, one write per line, for the test to compare with the record:
 *   ran PID EXE<TAB>ARG<TAB>…     (mode say)
 *   leaf ID PID PPID              (mode leaf)
 */
#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void say(const char *fmt, ...)
{
    char text[8192];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    write(1, text, n < (int)sizeof(text) ? n : (int)sizeof(text));
}

static void sleep_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000l};
    nanosleep(&t, NULL);
}

static int mode_say(int argc, char **argv)
{
    char text[8192];
    char exe[4096] = "";
    readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    int n = snprintf(text, sizeof(text), "ran %d %s", getpid(), exe);
    for (int i = 0; i < argc; i++)
        n += snprintf(text + n, sizeof(text) - n, "\t%s", argv[i]);
    text[n++] = '\n';
    write(1, text, n);
    return 0;
}

/* --- a tree of processes --- */

/* leaf ID END [MS]: END is an exit code, or sN to die of signal N */
static int mode_leaf(int argc, char **argv)
{
    say("leaf %s %d %d\n", argv[2], getpid(), getppid());
    if (argc > 4)
        sleep_ms(atoi(argv[4]));
    if (argv[3][0] == 's') {
        kill(getpid(), atoi(argv[3] + 1));
        pause();
    }
    return atoi(argv[3]);
}

static char *self;

static void *exec_thread(void *argv)
{
    execve(self, argv, environ);
    _exit(126);
}

static void start_leaf(int id, int how)
{
    static const char *const ends[] = {"0", "7", "s9", "255", "s15", "s11", "1", "s6"};
    char id_text[16];
    snprintf(id_text, sizeof(id_text), "%d", id);
    char *argv[] = {self, "leaf", id_text, (char *)ends[id % 8], how >= 3 ? "30" : NULL, NULL};
    pid_t pid;
    if (how == 0) { /* fork */
        if (fork() == 0)
            execve(self, argv, environ);
    } else if (how == 1) {
        if (vfork() == 0) {
            execve(self, argv, environ);
            _exit(126);
        }
    } else if (how == 2) {
        posix_spawn(&pid, self, NULL, NULL, argv, environ);
    } else if (how == 3) { /* orphan */
        if (fork() == 0) {
            if (fork() == 0)
                execve(self, argv, environ);
            _exit(0);
        }
    } else if (how == 4) { /* daemon */
        if (fork() == 0) {
            setsid();
            if (fork() == 0) {
                setsid();
                execve(self, argv, environ);
            }
            _exit(0);
        }
    } else if (fork() == 0) { /* not the first thread */
        pthread_t t;
        pthread_create(&t, NULL, exec_thread, argv);
        pause();
    }
}

static int mode_tree(int argc, char **argv)
{
    int n = atoi(argv[2]);
    for (int i = 0; i < n; i++) {
        start_leaf(i, i % 6);
        if (i % 16 == 15) {
            while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        }
    }
    while (wait(NULL) > 0)
        ;
    return 0;
}

/* --- ways to lie to the record; lie HOW TARGET OTHER --- */

static volatile char *shown; /* what is flipped */
static const char *words[2];
static volatile int flipping;

static void flip_once(int i)
{
    for (size_t k = 0; words[i][k]; k++)
        shown[k] = words[i][k];
}

static void *flip_thread(void *arg)
{
    flipping = 1;
    for (unsigned i = 0;; i++) {
        flip_once(i & 1);
        for (volatile int k = 0; k < (i * 7) % 3000; k++)
            ;
    }
    return NULL;
}

static int flip_helper(void *arg)
{
    struct timespec t0, t;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    flipping = 1;
    for (unsigned i = 0;; i++) {
        flip_once(i & 1);
        for (volatile int k = 0; k < (i * 7) % 3000; k++)
            ;
        clock_gettime(CLOCK_MONOTONIC, &t);
        if ((t.tv_sec - t0.tv_sec) * 1000000000ll + t.tv_nsec - t0.tv_nsec > 20000000)
            _exit(0);
    }
}

static void mem_helper(pid_t victim)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/mem", victim);
    int fd = open(path, O_RDWR);
    if (fd < 0) {
        say("refused %d\n", errno);
        _exit(0);
    }
    for (unsigned i = 0; i < 4000; i++)
        pwrite(fd, words[i & 1], strlen(words[0]), (off_t)(uintptr_t)shown);
    _exit(0);
}

/* Change the third argument while the tracee stands in its exec stop. */
static void poke_helper(pid_t victim, int detach, int ready)
{
    int status;
    if (ptrace(PTRACE_SEIZE, victim, NULL, (void *)PTRACE_O_TRACEEXEC) < 0)
        say("refused %d\n", errno);
    write(ready, "x", 1);
    while (waitpid(victim, &status, __WALL) == victim && WIFSTOPPED(status)) {
        if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXEC << 8))) {
            struct user_regs_struct regs;
            ptrace(PTRACE_GETREGS, victim, NULL, &regs);
            long at = ptrace(PTRACE_PEEKDATA, victim, (void *)(uintptr_t)(regs.rsp + 24), NULL);
            long word = ptrace(PTRACE_PEEKDATA, victim, (void *)at, NULL);
            memcpy(&word, "hidden", 6);
            ptrace(PTRACE_POKEDATA, victim, (void *)at, (void *)word);
            if (detach) {
                ptrace(PTRACE_DETACH, victim, NULL, NULL);
                _exit(0);
            }
        }
        ptrace(PTRACE_CONT, victim, NULL, NULL);
    }
    _exit(0);
}

/* Replace the program's code while the tracee stands in its exec stop: what runs then is not the file. The new code exits with 77. */
static void code_helper(pid_t victim, int ready)
{
    static const unsigned char code[16] = {0xb8, 60, 0, 0, 0, 0xbf, 77, 0, 0, 0, 0x0f, 0x05};
    int status;
    long word;
    ptrace(PTRACE_SEIZE, victim, NULL, (void *)PTRACE_O_TRACEEXEC);
    write(ready, "x", 1);
    while (waitpid(victim, &status, __WALL) == victim && WIFSTOPPED(status)) {
        if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXEC << 8))) {
            long auxv[64];
            char path[64];
            snprintf(path, sizeof(path), "/proc/%d/auxv", victim);
            int fd = open(path, O_RDONLY);
            read(fd, auxv, sizeof(auxv));
            int i = 0;
            while (auxv[i] && auxv[i] != 9) /* AT_ENTRY: behind the loader's first call */
                i += 2;
            for (int k = 0; k < 2; k++) {
                memcpy(&word, code + k * 8, 8);
                ptrace(PTRACE_POKEDATA, victim, (void *)(auxv[i + 1] + k * 8), (void *)word);
            }
            ptrace(PTRACE_DETACH, victim, NULL, NULL);
            _exit(0);
        }
        ptrace(PTRACE_CONT, victim, NULL, NULL);
    }
    _exit(0);
}

static void copy_to(int out, const char *path)
{
    char chunk[65536];
    ssize_t n;
    int in = open(path, O_RDONLY);
    while ((n = read(in, chunk, sizeof(chunk))) > 0)
        write(out, chunk, n);
    close(in);
}

static void *set_fs_thread(void *arg)
{
    unsigned long fs;
    syscall(SYS_arch_prctl, ARCH_GET_FS, &fs);
    flipping = 1;
    for (;;)
        syscall(SYS_arch_prctl, ARCH_SET_FS, fs);
    return NULL;
}

static void *late_exec_thread(void *argv)
{
    sleep_ms(5);
    execve(((char **)argv)[0], argv, environ);
    return NULL;
}

static int is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static int mode_lie(int argc, char **argv)
{
    const char *how = argv[2];
    static char word[64] = "honest";
    static char path[4096];
    char *said[] = {argv[3], "say", word, NULL};
    pthread_t t;
    words[0] = "honest";
    words[1] = "hidden";
    shown = word;
    strcpy(path, argv[3]);
    int ready[2];
    char c;
    pipe2(ready, O_CLOEXEC);
    if (is(how, "argv")) {
        pthread_create(&t, NULL, flip_thread, NULL);
    } else if (is(how, "path")) {
        words[0] = argv[3];
        words[1] = argv[4];
        shown = path;
        pthread_create(&t, NULL, flip_thread, NULL);
    } else if (is(how, "vm")) {
        char *stack = malloc(65536);
        clone(flip_helper, stack + 65536, CLONE_VM | SIGCHLD, NULL);
    } else if (is(how, "shared")) {
        said[2] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        strcpy(said[2], "honest");
        shown = said[2];
        flipping = 1;
        if (fork() == 0)
            flip_helper(NULL);
        sleep_ms(1);
    } else if (is(how, "mem")) {
        flipping = 1;
        pid_t victim = getpid();
        if (fork() == 0)
            mem_helper(victim);
        sleep_ms(20);
    } else if (is(how, "poke") || is(how, "poke-detach") || is(how, "code")) {
        flipping = 1;
        pid_t victim = getpid();
        if (fork() == 0) {
            if (is(how, "code"))
                code_helper(victim, ready[1]);
            poke_helper(victim, is(how, "poke-detach"), ready[1]);
        }
        read(ready[0], &c, 1);
    } else if (is(how, "memfd")) {
        int fd = memfd_create("x", MFD_CLOEXEC);
        copy_to(fd, argv[4]);
        syscall(SYS_execveat, fd, "", said, environ, AT_EMPTY_PATH);
        return 126;
    } else if (is(how, "undumpable")) {
        prctl(PR_SET_DUMPABLE, 0);
        pthread_create(&t, NULL, flip_thread, NULL);
    } else if (is(how,
                   "setfs")) { /* the first thread sets its base again and again while another one executes */
        pthread_create(&t, NULL, late_exec_thread, said);
        set_fs_thread(NULL);
    } else if (is(how, "setfs-thread")) {
        pthread_create(&t, NULL, set_fs_thread, NULL);
    }
    while (!flipping)
        ;
    execve(path, said, environ);
    execve(argv[3], said, environ); /* "path" may have hit half a name */
    return 126;
}

/* setfs FAIL N [PATH]: a failed execve, then N times what a new program's libc does */
static int mode_setfs(int argc, char **argv)
{
    unsigned long fs;
    syscall(SYS_arch_prctl, ARCH_GET_FS, &fs);
    if (is(argv[2], "missing"))
        execve("/no/such/program", argv, environ);
    else if (is(argv[2], "e2big")) { /* this very program, these very arguments */
        static char *env[64];
        char *big = malloc(131000);
        memset(big, 'x', 130999);
        big[130999] = 0;
        for (int i = 0; i < 63; i++)
            env[i] = big;
        execve(argv[4], argv, env);
    }
    for (int i = 0; i < atoi(argv[3]); i++)
        syscall(SYS_arch_prctl, ARCH_SET_FS, fs);
    return 0;
}

/* --- ways to execute --- */

/* threads N: all at once */
static pthread_barrier_t barrier;
static void *barrier_thread(void *arg)
{
    char id[16];
    snprintf(id, sizeof(id), "%d", (int)(intptr_t)arg);
    char *argv[] = {self, "say", id, NULL};
    pthread_barrier_wait(&barrier);
    execve(self, argv, environ);
    pause();
    return NULL;
}

static int mode_threads(int argc, char **argv)
{
    int n = atoi(argv[2]);
    pthread_barrier_init(&barrier, NULL, n);
    for (int i = 0; i < n; i++) {
        pthread_t t;
        pthread_create(&t, NULL, barrier_thread, (void *)(intptr_t)i);
    }
    pause();
    return 0;
}

/* try PATH [ARG…]: execve(PATH); tells the errno. try-exit: the same, but ends at once. */
static int mode_try(int argc, char **argv)
{
    execve(argv[2], argv + 2, environ);
    if (is(argv[1], "try-exit"))
        _exit(127);
    say("errno %d\n", errno);
    return 0;
}

/* fill PATH COUNT BYTES: PATH say with COUNT arguments of BYTES bytes */
static int mode_fill(int argc, char **argv)
{
    int n = atoi(argv[3]);
    int bytes = atoi(argv[4]);
    char **list = calloc(n + 3, sizeof(char *));
    char *word = malloc(bytes + 1);
    memset(word, 'x', bytes);
    word[bytes] = 0;
    list[0] = argv[2];
    list[1] = "nothing";
    for (int i = 0; i < n; i++)
        list[i + 2] = word;
    execve(argv[2], list, environ);
    say("errno %d\n", errno);
    return 0;
}

/* fd KIND PATH [ARG…] */
static int mode_fd(int argc, char **argv)
{
    const char *kind = argv[2];
    char dir[4096];
    if (is(kind, "empty-argv")) {
        char *none[] = {NULL};
        execve(argv[3], none, environ);
    } else if (is(kind, "fexecve")) {
        int fd = open(argv[3], O_RDONLY | O_CLOEXEC);
        fexecve(fd, argv + 3, environ);
    } else if (is(kind, "script")) { /* its interpreter opens /dev/fd/N: not close-on-exec */
        int fd = open(argv[3], O_RDONLY);
        syscall(SYS_execveat, fd, "", argv + 3, environ, AT_EMPTY_PATH);
    } else if (is(kind, "at")) {
        strcpy(dir, argv[3]);
        *strrchr(dir, '/') = 0;
        int fd = open(dir, O_PATH | O_DIRECTORY);
        syscall(SYS_execveat, fd, strrchr(argv[3], '/') + 1, argv + 3, environ, 0);
    } else if (is(kind, "memfd") || is(kind, "deleted")) {
        int fd = is(kind, "memfd") ? memfd_create("hidden", 0) : open("gone", O_RDWR | O_CREAT, 0755);
        copy_to(fd, argv[3]);
        if (is(kind, "deleted")) {
            close(fd);
            fd = open("gone", O_RDONLY);
            unlink("gone");
        }
        syscall(SYS_execveat, fd, "", argv + 3, environ, AT_EMPTY_PATH);
    }
    say("errno %d\n", errno);
    return 0;
}

/* storm N PATH: N times fork and exec, each under a timer that interrupts the caller every 100 us */
static void on_signal(int sig)
{
}
static int mode_storm(int argc, char **argv)
{
    char *args[] = {argv[3], NULL};
    for (int i = 0; i < atoi(argv[2]); i++) {
        if (fork() == 0) {
            timer_t timer;
            /* Without SA_RESTART the kernel gives an exec that nobody has received yet EINTR. */
            struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
            /* Its default is to be ignored: the new program survives what is still under way. */
            struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGURG};
            struct itimerspec every = {{0, 100000}, {0, 100000}};
            sigaction(SIGURG, &act, NULL);
            timer_create(CLOCK_MONOTONIC, &ev, &timer);
            timer_settime(timer, 0, &every, NULL);
            for (volatile int k = 0; k < 100000; k++)
                ;
            execve(args[0], args, environ);
            _exit(126);
        }
        while (waitpid(-1, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    return 0;
}

/* many N PATH: N times fork, exec, wait */
static int mode_many(int argc, char **argv)
{
    char *args[] = {argv[3], NULL};
    for (int i = 0; i < atoi(argv[2]); i++) {
        pid_t pid;
        if (posix_spawn(&pid, args[0], NULL, NULL, args, environ) == 0)
            waitpid(pid, NULL, 0);
    }
    return 0;
}

/* misses N: a PATH search through N directories that do not have it */
static int mode_misses(int argc, char **argv)
{
    char path[65536] = "";
    for (int i = 0; i < atoi(argv[2]); i++)
        sprintf(path + strlen(path), "/no/such/%d:", i);
    strcat(path, "/usr/bin:/bin");
    setenv("PATH", path, 1);
    char *args[] = {"true", NULL};
    execvp("true", args);
    return 126;
}

/* --- attacks on the rest --- */

/* write PATH: open for writing, tell the errno */
static int mode_write(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        int fd = open(argv[i], O_WRONLY | O_CREAT, 0644);
        say("write %s %d\n", argv[i], fd < 0 ? errno : 0);
        if (fd >= 0)
            close(fd);
    }
    return 0;
}

static void attack(const char *name, long rc)
{
    say("%s %d\n", name, rc < 0 ? errno : 0);
}

/* attack PID: what must not work on the launcher or on the agent */
static int mode_attack(int argc, char **argv)
{
    char path[64];
    struct {
        unsigned long cur, max;
    } limit = {1, 1};
    pid_t pid = atoi(argv[2]);
    attack("kill", kill(pid, SIGKILL));
    attack("stop", kill(pid, SIGSTOP));
    attack("null-signal", kill(pid, 0));
    attack("seize", ptrace(PTRACE_SEIZE, pid, NULL, NULL));
    attack("attach", ptrace(PTRACE_ATTACH, pid, NULL, NULL));
    attack("prlimit", syscall(SYS_prlimit64, pid, 7, &limit, NULL));
    attack("readv", syscall(SYS_process_vm_readv, pid, NULL, 0, NULL, 0, 0));
    attack("setpriority", syscall(SYS_setpriority, 0, pid, 19));
    static const char *const files[] = {"mem", "environ", "maps", "auxv", "fd", "root", "cwd", "exe"};
    for (int i = 0; i < 8; i++) {
        snprintf(path, sizeof(path), "/proc/%d/%s", pid, files[i]);
        attack(files[i], i < 4    ? open(path, O_RDONLY)
                         : i == 4 ? open(path, O_RDONLY | O_DIRECTORY)
                                  : readlink(path, path, 8));
    }
    snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
    attack("oom", open(path, O_WRONLY));
    return 0;
}

/* traceme: ask the parent, which is the agent, to trace us, and stop */
static int mode_traceme(int argc, char **argv)
{
    attack("traceme", ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    raise(SIGSTOP);
    char *args[] = {self, "say", "after", NULL};
    execve(self, args, environ);
    return 3;
}

/* state: what a command starts with */
static int mode_state(int argc, char **argv)
{
    sigset_t set;
    sigprocmask(SIG_SETMASK, NULL, &set);
    for (int s = 1; s < NSIG; s++) {
        struct sigaction act;
        if (sigismember(&set, s) == 1)
            say("blocked %d\n", s);
        if (sigaction(s, NULL, &act) == 0 && act.sa_handler != SIG_DFL)
            say("handled %d\n", s);
    }
    for (int fd = 0; fd < 4096; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            say("fd %d\n", fd);
    }
    for (char **e = environ; *e; e++)
        say("env %s\n", *e);
    static const int limits[] = {RLIMIT_CORE, RLIMIT_NOFILE, RLIMIT_FSIZE};
    for (int i = 0; i < 3; i++) {
        struct rlimit r;
        getrlimit(limits[i], &r);
        say("limit %d %llu %llu\n", i, (unsigned long long)r.rlim_cur, (unsigned long long)r.rlim_max);
    }
    mode_t mask = umask(0);
    char cwd[4096];
    say("umask %o\nsession %d\nleader %d\ncwd %s\n", mask, getsid(0) == getpid(), getpgrp() == getpid(),
        getcwd(cwd, sizeof(cwd)));
    say("ids %d %d %d %d groups %d\n", getuid(), geteuid(), getgid(), getegid(), getgroups(0, NULL));
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } modes[] = {{"say", mode_say}, {"leaf", mode_leaf}, {"tree", mode_tree}, {"lie", mode_lie},
        {"setfs", mode_setfs}, {"threads", mode_threads}, {"try", mode_try}, {"try-exit", mode_try},
        {"fill", mode_fill}, {"fd", mode_fd}, {"storm", mode_storm}, {"many", mode_many},
        {"misses", mode_misses}, {"write", mode_write}, {"attack", mode_attack}, {"traceme", mode_traceme},
        {"state", mode_state}};
    self = getenv("PREY");
    for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (is(argv[1], modes[i].name))
            return modes[i].run(argc, argv);
    }
    return 0;
}
