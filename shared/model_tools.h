/*
 * The shell in a model's words: which command a tool call asks for, and which exit code a tool result tells. Tools of codex (shell, shell_command,
 * exec_command, local_shell), claude (Bash), opencode (bash), gemini (run_shell_command) and the built-in loop (shell). Pure functions.
 */
#ifndef ARP_SHARED_MODEL_TOOLS_H
#define ARP_SHARED_MODEL_TOOLS_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/buf.h"
#include "shared/err.h"

enum model_tool_kind {
    MODEL_TOOL_OTHER,
    MODEL_TOOL_SHELL,
    MODEL_TOOL_EDIT /* writes files itself: apply_patch, Write, Edit … */
};
enum model_tool_kind model_tool_kind_of(const char *name);

/* The command's text as the shell gets it behind -c; an argv array ["bash","-lc",text] gives text, any other its words joined by a blank.
 * Appended to out. False: the arguments hold no command. */
bool model_tool_command(const char *name, const char *arguments, size_t len, struct buf *out);

struct model_told {
    bool has_exit_code;
    int exit_code;
    const char *output; /* the command's output in the text, borrowed; the whole text when no head is known */
    size_t output_len;
};
/* What a tool result says of a command: "Exit code: N", "Process exited with code N", {"metadata":{"exit_code":N}}, "Exit code N", … is_error: the
 * dialect's own flag. */
void model_tool_told(const char *name, const char *text, bool is_error, struct model_told *ret);

#endif
