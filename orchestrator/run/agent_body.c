/*
 * The body of POST /run: see agent_body.h.
 */
#include "orchestrator/run/agent_body.h"

#include <string.h>

#include "shared/json.h"
#include "shared/model.h"

static void write_lines(struct json *j, const struct buf *lines)
{
    const char *end = lines->data + lines->len;
    for (const char *line = lines->data; line < end;) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        json_strn(j, line, (size_t)(lf - line));
        line = lf + 1;
    }
}

/* For an engine that calls models: never who answers, or by what key. */
static void write_work(struct json *j, const struct agent_body *b)
{
    const struct run_work *w = b->work;
    json_kstr(j, "model", w->model);
    json_kstr(j, "dialect", w->dialect);
    json_kstr(j, "instructions", b->choice->agent.instructions);
    json_kstr(j, "threadId", b->request->thread_id);
    json_key(j, "limits");
    run_request_write_limits(b->request, j);
}

int agent_body_write(const struct agent_body *b, struct buf *out, struct arp_err *err)
{
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kint(&j, "v", 1);
    json_kstr(&j, "runId", b->run->id);
    json_kstr(&j, "userId", b->run->user_id);
    json_kstr(&j, "projectId", b->run->project_id);
    json_kstr(&j, "workspaceId", b->run->workspace_id);
    json_kstr(&j, "prompt", b->request->prompt);
    json_kstr(&j, "engine", b->work->engine);
    if (model_called_by(b->work->engine))
        write_work(&j, b);
    else
        json_kraw(&j, "commands", buf_str(&b->request->commands));
    json_kint(&j, "timeoutMs", b->request->timeout_ms);
    json_kraw(&j, "sandboxProfile", b->choice->sandbox_profile);
    json_kraw(&j, "artifacts", buf_str(&b->request->artifacts));
    json_key(&j, "events");
    json_arr_open(&j);
    write_lines(&j, b->lines);
    json_arr_close(&j);
    json_obj_close(&j);
    return buf_error(out, err);
}
