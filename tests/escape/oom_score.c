/*
 * Lower its score for when memory is out, below or to that of the agent.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    static const char *const scores[] = {"-1000", "-1", "0"};
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        denied(errno);
    for (size_t i = 0; i < sizeof(scores) / sizeof(scores[0]); i++) {
        if (write(fd, scores[i], strlen(scores[i])) > 0)
            escaped("score is %s", scores[i]);
    }
    denied(errno);
}
