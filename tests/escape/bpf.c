/*
 * Make a BPF map.
 */
#include <linux/bpf.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.map_type = BPF_MAP_TYPE_ARRAY;
    attr.key_size = 4;
    attr.value_size = 4;
    attr.max_entries = 1;
    attempt_result(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)), "has a BPF map");
}
