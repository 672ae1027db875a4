/*
 * The tools of the built-in engine: what the model asks for by name and arguments, done and told in words. Schemas: agent/builtin/tools.json.
 * Arguments are hostile. Run thread only.
 */
#ifndef ARP_AGENT_BUILTIN_TOOLS_H
#define ARP_AGENT_BUILTIN_TOOLS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/repofile.h"
#include "shared/buf.h"
#include "shared/err.h"

/* Of a command's output, for the model: so much of its beginning and of its end. */
#define BUILTIN_OUTPUT_HALF (5u << 10)
#define BUILTIN_READ_BYTES  (32u << 10)
/* Of a command, when the model names none, and at most. */
#define BUILTIN_COMMAND_TIMEOUT_MS     120000
#define BUILTIN_COMMAND_TIMEOUT_MAX_MS 3600000

/* One stream of a command: its ends. Filled by builtin_output_add, or its parts by whoever has the whole in a file. */
struct builtin_output {
    char head[BUILTIN_OUTPUT_HALF +
              3];                   /* room for the rest of a character, which is told whole or not at all */
    char tail[BUILTIN_OUTPUT_HALF]; /* what stands at the end and not in head */
    size_t head_len, tail_len;
    uint64_t total;
};
void builtin_output_add(struct builtin_output *o, const char *bytes, size_t len);

/* How a command went. Large: keep it off small stacks. */
struct builtin_shell_result {
    int exit_code; /* as command_log.jsonl has it */
    bool timed_out;
    int64_t duration_ms;
    const char
        *error; /* why it did not start, static or owned by the callee until its next call; NULL: it did */
    struct builtin_output out, err;
};

struct builtin_tools {
    struct repofiles files;
    /* Run a shell command as the run does. Errors end the run: ARP_E_GONE (cancelled), ARP_E_TIMEOUT (the run's time is up), others. */
    int (*shell)(void *ctx, const char *command, int64_t timeout_ms, struct builtin_shell_result *ret,
        struct arp_err *err);
    void *ctx;
};

enum builtin_tool_end {
    BUILTIN_TOOL_DONE,
    BUILTIN_TOOL_FAILED,   /* it was tried, or refused for what it would do */
    BUILTIN_TOOL_MALFORMED /* no such tool, or no such arguments */
};
/* Do one call; said: what the model is told. Errors: those of shell, ARP_E_NOMEM. */
int builtin_tool_call(const struct builtin_tools *t, const char *name, const char *arguments, size_t len,
    struct buf *said, enum builtin_tool_end *ret, struct arp_err *err);

#endif
