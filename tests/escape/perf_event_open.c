/*
 * Open a performance event.
 */
#include <linux/perf_event.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    struct perf_event_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.type = PERF_TYPE_SOFTWARE;
    attr.size = sizeof(attr);
    attr.config = PERF_COUNT_SW_TASK_CLOCK;
    attr.exclude_kernel = 1;
    attempt_result(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0L), "has a performance event");
}
