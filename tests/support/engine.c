/*
 * The engine as tests look at it: see engine.h.
 */
#include "tests/support/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *engine_container(const struct stack *s, const char *workspace_id)
{
    static char name[96];
    snprintf(name, sizeof(name), "arp-%.8s-ws-%s", stack_installation(s), workspace_id);
    return name;
}

const char *engine_volume(const struct stack *s, const char *workspace_id)
{
    static char name[96];
    snprintf(name, sizeof(name), "arp-%.8s-vol-%s", stack_installation(s), workspace_id);
    return name;
}

cJSON *engine_inspect(const char *name)
{
    char *out = NULL;
    cJSON *first = NULL;
    if (RUN_ARGV(NULL, &out, "docker", "inspect", name) == 0) {
        cJSON *all = cJSON_Parse(out);
        first = cJSON_DetachItemFromArray(all, 0);
        cJSON_Delete(all);
    }
    free(out);
    return first;
}

bool engine_has(const char *name)
{
    return RUN_ARGV(NULL, NULL, "docker", "inspect", name) == 0;
}

bool engine_running(const char *name)
{
    cJSON *c = engine_inspect(name);
    bool running = cJSON_IsTrue(json_at(c, "State.Running"));
    cJSON_Delete(c);
    return running;
}

int engine_running_count(const struct stack *s)
{
    char filter[96];
    char *out = NULL;
    int n = 0;
    snprintf(filter, sizeof(filter), "label=arp.instance=%s", stack_installation(s));
    RUN_ARGV(NULL, &out, "docker", "ps", "-q", "--filter", filter);
    for (const char *p = out; p && *p; p++)
        n += *p == '\n';
    free(out);
    return n;
}

bool engine_address(const char *container, char ret[64])
{
    cJSON *c = engine_inspect(container);
    const cJSON *network = cJSON_GetObjectItem(json_at(c, "NetworkSettings.Networks"), stack_network());
    const char *address = cJSON_GetStringValue(json_at(network, "IPAddress"));
    snprintf(ret, 64, "%s", address ? address : "");
    cJSON_Delete(c);
    return ret[0] != '\0';
}

const char *gate_commands(const char *gate)
{
    static char commands[256];
    snprintf(commands, sizeof(commands),
        "[[\"sh\",\"-c\",\"echo at the gate; until [ -e /tmp/gate-%s ]; do sleep 0.05; done; echo "
        "through\"]]",
        gate);
    return commands;
}

bool gate_open(const struct stack *s, const char *workspace_id, const char *gate)
{
    char path[96];
    snprintf(path, sizeof(path), "/tmp/gate-%s", gate);
    /* The container may still be on its way up. */
    for (int i = 0; i < 300; i++) {
        if (RUN_ARGV(NULL, NULL, "docker", "exec", "-u", "1000", engine_container(s, workspace_id), "touch",
                path) == 0)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return false;
}
