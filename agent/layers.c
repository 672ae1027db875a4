/*
 * Layers: see layers.h.
 */
#include "agent/layers.h"

#include "agent/tracee.h"

void sandbox_layers_put(struct json *j, const struct sandbox_layers *l)
{
    static const struct sandbox_layers none = {0};
    l = l ? l : &none;
    const struct {
        const char *name;
        bool on;
    } layers[] = {{"uid", l->uid}, {"capabilities", l->capabilities}, {"bounding_set", l->bounding_set},
        {"no_new_privs", l->no_new_privs}, {"rlimits", l->rlimits}, {"landlock", l->landlock},
        {"seccomp", l->seccomp}, {"gateway_only", l->gateway_only}};
    json_arr_open(j);
    for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++) {
        if (layers[i].on)
            json_str(j, layers[i].name);
    }
    json_arr_close(j);
}

void sandbox_recorder_put(struct json *j, const struct sandbox_layers *l)
{
    json_key(j, "recorder");
    json_obj_open(j);
    json_kbool(j, "exec", l->seccomp);
    json_kbool(j, "confirm", l->seccomp);
    json_kstr(j, "exitStatus", tracee_tells_exit() ? "all" : "none");
    json_obj_close(j);
}
