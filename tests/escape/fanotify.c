/*
 * Watch what everybody opens.
 */
#include <fcntl.h>
#include <sys/fanotify.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(fanotify_init(FAN_CLASS_NOTIF, O_RDONLY), "watches");
}
