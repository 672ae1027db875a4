/*
 * Get a handle of a file: half of the way past every folder above it.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    struct {
        struct file_handle head;
        unsigned char bytes[MAX_HANDLE_SZ];
    } h = {.head = {.handle_bytes = MAX_HANDLE_SZ}};
    int mount_id = 0;
    attempt_result(name_to_handle_at(AT_FDCWD, ".", &h.head, &mount_id, 0), "has a handle");
}
