/*
 * The container engine as the tests look at it, by the docker client: what is there, and gates that hold a run at a point until the test
 * opens them.
 */
#ifndef ARP_TESTS_SUPPORT_ENGINE_H
#define ARP_TESTS_SUPPORT_ENGINE_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "tests/support/stack.h"

/* Names that the runtime gives to what it makes for a workspace. Static buffers, one per function. */
const char *engine_container(const struct stack *s, const char *workspace_id);
const char *engine_volume(const struct stack *s, const char *workspace_id);

/* `docker inspect` of an object, the first one; NULL when there is none. cJSON_Delete. */
cJSON *engine_inspect(const char *name);
bool engine_has(const char *name);
bool engine_running(const char *name);
/* How many containers of the stack's installation run. */
int engine_running_count(const struct stack *s);
/* The container's address on the stack's network into ret; false when it has none. */
bool engine_address(const char *container, char ret[64]);

/* Commands (JSON text) of a run that waits at the gate until it is opened. Static buffer. */
const char *gate_commands(const char *gate);
/* Let the run in the workspace pass. */
bool gate_open(const struct stack *s, const char *workspace_id, const char *gate);

#endif
