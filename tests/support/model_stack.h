/*
 * A stack whose runs call a model: the scripted provider behind the gateway, images with a coding agent in them, and what such a run leaves
 * beside the usual record.
 */
#ifndef ARP_TESTS_SUPPORT_MODEL_STACK_H
#define ARP_TESTS_SUPPORT_MODEL_STACK_H

#include "tests/support/provider.h"
#include "tests/support/record.h"

/* The version of an engine that images/engines.txt has first; "" when it has none. Static. */
const char *model_engine_version(const char *engine);
/* The image with the real codex, made by images/engine.sh: ARP_TEST_CODEX_IMAGE, default arp-workspace-codex:<that version>. Static. */
const char *model_codex_image(void);
/* Make an image of the workspace image with a program of the build folder where the engine's is looked for. Removed by docker_image_remove. */
bool model_image(const char *tag, const char *engine, const char *program);

/* stack_start with a key for secrets, providers on loopback allowed, and this workspace image (NULL: the usual one). */
struct stack *model_stack_start(const char *image, const char *const *env);

/* PUT /providers/NAME: base URL of p, that key, all dialects, everything recorded; more: further members as JSON text ("\"models\":[\"m\"]"), which
 * replace the usual ones, or NULL. Returns the status. */
long model_provider(const struct stack *s, const struct tenant *t, const char *name, const struct provider *p,
    const char *key, const char *more);
/* POST message {"engine","prompt","provider":"main"} and more members (or NULL); waits for the run's end. Returns the status. */
long model_run(const struct stack *s, const struct tenant *t, const char *engine, const char *prompt,
    const char *more, struct reply *ret);
/* The same without waiting: the run's id goes to ret_id[40]. */
bool model_begin(const struct stack *s, const struct tenant *t, const char *engine, const char *prompt,
    const char *more, char *ret_id);

/* The record of a run that called a model. */
struct model_record {
    struct record rec;
    struct jsonl calls; /* model_log.jsonl */
    cJSON *reconciliation;
};
/* Open the run's bundle, which arpctl must accept (exit code 0). False: the reason on standard error. */
bool model_record_open(
    const struct stack *s, const struct tenant *t, const char *run_id, struct model_record *ret);
void model_record_done(struct model_record *r);
/* Events of a type. */
size_t model_events(const struct model_record *r, const char *type);
/* The line of command_log.jsonl with that command, NULL when there is none. */
const cJSON *model_command(const struct model_record *r, const char *command);
/* All deltas of RunToken, one behind the other (free()). */
char *model_tokens(const struct model_record *r);

/* True when text is in none of: the container's definition, the files on its volume and elsewhere in it, and the environment, arguments and
 * names of open files of its processes. What it is found in is said on stderr. */
bool model_container_lacks(const struct tenant *t, const char *text);
/* True when text is in none of: the run's files and zip, the API's answers about it, the server's log and state, the database, the container. */
bool model_is_nowhere(
    const struct stack *s, const struct tenant *t, const struct model_record *r, const char *text);

#endif
