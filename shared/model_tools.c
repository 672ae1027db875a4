/*
 * The shell in a model's words: see model_tools.h.
 */
#include "shared/model_tools.h"

#include <stdlib.h>
#include <string.h>

#include "shared/command_text.h"
#include "shared/json.h"
#include "shared/model.h"
#include "shared/words.h"

/* Names as the CLIs give them; whatever a provider's proxy puts before them is another tool. */
static const char *const shell_tools[] = {"shell", "shell_command", "exec_command", "local_shell",
    "container.exec", "unified_exec", "Bash", "bash", "run_shell_command"};
static const char *const edit_tools[] = {"apply_patch", "write_file", "Write", "Edit", "MultiEdit",
    "NotebookEdit", "write", "edit", "multiedit", "patch", "replace", "str_replace_based_edit_tool",
    "str_replace_editor"};

enum model_tool_kind model_tool_kind_of(const char *name)
{
    if (WORD_IS_IN(name, shell_tools))
        return MODEL_TOOL_SHELL;
    if (WORD_IS_IN(name, edit_tools))
        return MODEL_TOOL_EDIT;
    return MODEL_TOOL_OTHER;
}

/* --- commands --- */

/* ["bash","-lc",text] and the like. */
static bool is_shell_argv(const cJSON *argv)
{
    const char *program = cJSON_GetStringValue(cJSON_GetArrayItem(argv, 0));
    const char *option = cJSON_GetStringValue(cJSON_GetArrayItem(argv, 1));
    return program && option && cJSON_GetArraySize(argv) == 3 &&
           command_word_is_shell(program, strlen(program)) &&
           command_word_is_shells_c(option, strlen(option));
}

static bool put_argv(const cJSON *argv, struct buf *out)
{
    const cJSON *word;
    cJSON_ArrayForEach(word, argv)
    {
        if (!cJSON_IsString(word))
            return false;
    }
    if (is_shell_argv(argv)) {
        buf_append_str(out, cJSON_GetArrayItem(argv, 2)->valuestring);
        return true;
    }
    cJSON_ArrayForEach(word, argv)
    {
        if (word != argv->child)
            buf_append_char(out, ' ');
        buf_append_str(out, word->valuestring);
    }
    return argv->child != NULL;
}

bool model_tool_command(const char *name, const char *arguments, size_t len, struct buf *out)
{
    cleanup_cjson cJSON *doc = NULL;
    if (model_tool_kind_of(name) != MODEL_TOOL_SHELL || model_json(arguments, len, &doc, NULL))
        return false;
    const cJSON *action = json_member(doc, "action");
    const cJSON *from = cJSON_IsObject(action) ? action : doc;
    const cJSON *command = json_member(from, "command");
    if (!command)
        command = json_member(from, "cmd");
    if (cJSON_IsString(command)) {
        buf_append_str(out, command->valuestring);
        return true;
    }
    return cJSON_IsArray(command) && put_argv(command, out);
}

/* --- results --- */

/* The number behind prefix when line begins so and holds nothing else. */
static bool number_after(const char *line, const char *prefix, int *ret)
{
    size_t n = strlen(prefix);
    if (strncmp(line, prefix, n) != 0)
        return false;
    char *end = NULL;
    long v = strtol(line + n, &end, 10);
    if (end == line + n || (*end && *end != '\n' && *end != '\r') || v < -255 || v > 255)
        return false;
    *ret = (int)v;
    return true;
}

static const char *next_line(const char *line)
{
    const char *lf = strchr(line, '\n');
    return lf ? lf + 1 : NULL;
}

static void take(struct model_told *ret, int code)
{
    ret->has_exit_code = true;
    ret->exit_code = code;
}

/* {"output":…,"metadata":{"exit_code":N}} of older codex: the output stands in it escaped, so the whole text stays the output. */
static bool told_by_json(const char *text, struct model_told *ret)
{
    cleanup_cjson cJSON *doc = NULL;
    if (text[0] != '{' || model_json(text, strlen(text), &doc, NULL))
        return false;
    const cJSON *metadata = json_member(doc, "metadata");
    int64_t code = json_get_int(metadata, "exit_code", INT64_MIN);
    if (code >= -255 && code <= 255)
        take(ret, (int)code);
    return true;
}

/* Lines of codex and of the built-in loop up to "Output:". Only there: what follows is the command's own text, which may say anything. */
static bool told_by_head(const char *text, struct model_told *ret)
{
    static const char *const words[] = {
        "Exit code: ", "Wall time: ", "Chunk ID: ", "Process exited with code ",
        "Process running with session ID ", "Original token count: ", "Total output lines: "};
    struct model_told told = *ret;
    for (const char *line = text; line; line = next_line(line)) {
        int code = 0;
        if (strncmp(line, "Output:\n", 8) == 0 || strcmp(line, "Output:") == 0) {
            if (line == text)
                return false;
            told.output = line[7] ? line + 8 : line + 7;
            told.output_len = strlen(told.output);
            *ret = told;
            return true;
        }
        if (number_after(line, "Exit code: ", &code) ||
            number_after(line, "Process exited with code ", &code))
            take(&told, code);
        bool known = false;
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && !known; i++)
            known = strncmp(line, words[i], strlen(words[i])) == 0;
        if (!known)
            return false;
    }
    return false;
}

/* Gemini: "Command: …\nDirectory: …\nOutput: …\nError: …\nExit Code: N\n…"; the last such line, as the output stands before it. */
static void told_by_gemini(const char *text, struct model_told *ret)
{
    for (const char *line = text; line; line = next_line(line)) {
        int code = 0;
        if (number_after(line, "Exit Code: ", &code))
            take(ret, code);
    }
}

/* Claude: "Exit code N" and the output, of failed commands only. Of the others it says nothing: some exit codes other than 0 are no failure to it. */
static void told_by_claude(const char *text, struct model_told *ret)
{
    int code = 0;
    const char *at = strncmp(text, "Error: ", 7) == 0 ? text + 7 : text;
    if (!number_after(at, "Exit code ", &code))
        return;
    take(ret, code);
    const char *output = next_line(at);
    ret->output = output ? output : at + strlen(at);
    ret->output_len = strlen(ret->output);
}

void model_tool_told(const char *name, const char *text, bool is_error, struct model_told *ret)
{
    *ret = (struct model_told){.output = text, .output_len = strlen(text)};
    if (strcmp(name, "run_shell_command") == 0) {
        told_by_gemini(text, ret);
    } else if (strcmp(name, "Bash") == 0) {
        if (is_error)
            told_by_claude(text, ret);
    } else if (!told_by_json(text, ret) && !told_by_head(text, ret) && is_error) {
        told_by_claude(text, ret);
    }
}
