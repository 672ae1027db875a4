/*
 * The container engine as a tester looks at it: the docker CLI, argv only. Nothing here goes through the code under test.
 */
#ifndef ARP_TESTS_SUPPORT_DOCKER_H
#define ARP_TESTS_SUPPORT_DOCKER_H

#include <stdbool.h>

#include "tests/support/process.h"

/* Standard output of a docker command without its last LF, in a buffer that lives until the next call. NULL: it failed (what it said
 * on stderr). */
const char *docker(const char *const *args);
#define DOCKER(...) docker((const char *const[]){__VA_ARGS__, NULL})

/* The workspace image under test: ARP_TEST_IMAGE, default arp-workspace:v0.3. */
const char *docker_image(void);
/* Make images, to be removed by docker_image_remove: the workspace image with text in /marker; one that is no workspace image. */
bool docker_image_mark(const char *tag, const char *text);
bool docker_image_plain(const char *tag);
void docker_image_remove(const char *tag);

/* Id of the container that carries the workspace's label, whatever its state; "" when there is none. Buffer of its own, static. */
const char *docker_container(const char *workspace_id);
/* Name of the workspace's volume; "" when there is none. Static. */
const char *docker_volume(const char *workspace_id);
/* What argv prints in the workspace's container, as root; NULL when it fails. Lives until the next docker call. */
#define DOCKER_EXEC(workspace_id, ...) DOCKER("exec", docker_container(workspace_id), __VA_ARGS__)
/* Processes in the workspace's container that run as the commands' uid (1000); -1 when that can't be told. */
int docker_workload_count(const char *workspace_id);

#endif
