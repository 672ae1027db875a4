/*
 * Bare prey: a static program without libc, which never does what a libc does first: the recorder can't confirm it.
 *   bare leaf MS CODE      tell "bare PID", sleep, end
 *   bare self N            execute itself until N is 0
 *   bare vanish            unlink its own file (argv[0]) and end
 */
static long call(long nr, long a, long b, long c)
{
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return ret;
}

static int number(const char *s)
{
    int n = 0;
    while (*s >= '0' && *s <= '9')
        n = n * 10 + (*s++ - '0');
    return n;
}

static void tell_pid(void)
{
    char text[32] = "bare ";
    char digits[16];
    int n = 0, at = 5;
    for (long pid = call(39, 0, 0, 0); pid > 0; pid /= 10)
        digits[n++] = (char)('0' + pid % 10);
    while (n > 0)
        text[at++] = digits[--n];
    text[at++] = '\n';
    call(1, 1, (long)text, at);
}

__attribute__((used)) void bare_main(long *stack)
{
    char **argv = (char **)(stack + 1);
    long argc = stack[0];
    int code = 0;
    if (argc > 1)
        tell_pid();
    if (argc > 3 && argv[1][0] == 'l') {
        long t[2] = {number(argv[2]) / 1000, number(argv[2]) % 1000 * 1000000l};
        call(35, (long)t, 0, 0);
        code = number(argv[3]);
    } else if (argc > 2 && argv[1][0] == 's' && argv[2][0] > '0') {
        argv[2][0]--;
        call(59, (long)argv[0], (long)argv, (long)(argv + argc + 1));
        code = 126;
    } else if (argc > 1 && argv[1][0] == 'v') {
        call(87, (long)argv[0], 0, 0);
    }
    call(60, code, 0, 0);
}

__asm__(".globl _start\n_start:\n  xor %rbp, %rbp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call bare_main\n");
