/*
 * Load a filter that asks a listener which is not there about every exec: such calls must fail, not pass by the record.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    struct sock_filter code[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_execve},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
    };
    struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
        denied(errno);
    execl("/bin/echo", "echo", "ESCAPED executed unseen", (char *)NULL);
    denied(errno);
}
