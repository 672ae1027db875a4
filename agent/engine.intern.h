/*
 * Engine, what its kinds share: filling a start, keeping a story, writing configuration into a home that the workload owns.
 */
#ifndef ARP_AGENT_ENGINE_INTERN_H
#define ARP_AGENT_ENGINE_INTERN_H

#include <cjson/cJSON.h>

#include "agent/engine.h"

extern const struct engine engine_codex, engine_claude, engine_opencode;

/* Prompts, instructions and configuration together stay far below. */
#define ENGINE_INPUT_MAX (LIMIT_PROMPT + LIMIT_INSTRUCTIONS + 16u)

/* Where a CLI looks for the relay's bearer. */
#define ENGINE_BEARER_VAR "ARP_MODEL_TOKEN"

/* One more argument or variable, copied. Errors: ARP_E_NOMEM, ARP_E_TOO_LARGE (there is no room: our mistake). */
int engine_add_arg(struct engine_start *s, const char *arg, struct arp_err *err);
int engine_add_var(struct engine_start *s, const char *name, const char *value, struct arp_err *err);
/* The prompt as its input, behind the instructions when with_instructions. Errors: ARP_E_NOMEM, ARP_E_TOO_LARGE. */
int engine_set_input(
    struct engine_start *s, const struct run_request *req, bool with_instructions, struct arp_err *err);

/* Replace home's file name (no slash) by content, as the home's owner: whatever earlier runs left there, nothing is followed that they
 * could not write to themselves. Errors: ARP_E_IO. */
int engine_put_file(
    const struct engine_context *c, const char *name, const struct buf *content, struct arp_err *err);

/* NULL texts change nothing. */
void engine_tell_thread(
    struct engine_story *s, const char *thread_id); /* one that could not be asked for again is passed over */
void engine_tell_text(struct engine_story *s, const char *text); /* the final text so far is this */
void engine_tell_end(struct engine_story *s, bool failed, const char *message);

/* The object of one line, NULL for anything else; cJSON_Delete. */
cJSON *engine_parse_line(const char *line, size_t len);

#endif
