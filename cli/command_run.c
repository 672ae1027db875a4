/*
 * arpctl run and arpctl logs: start a run and watch it, or watch one that exists.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/follow.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "shared/uuid.h"

static int end_code(const struct view *v)
{
    return v->end == RUN_END_SUCCEEDED ? 0 : EXIT_NO;
}

/* {"prompt":…,"commands":[["sh","-c",script]] or [argv],"timeoutMs":…} */
static int request_body(const char *prompt, const char *script, const char **argv, int64_t timeout_ms,
    struct buf *out, struct arp_err *err)
{
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kstr(&j, "prompt", prompt);
    json_key(&j, "commands");
    json_arr_open(&j);
    json_arr_open(&j);
    if (script) {
        json_str(&j, "sh");
        json_str(&j, "-c");
        json_str(&j, script);
    }
    for (; argv && *argv; argv++)
        json_str(&j, *argv);
    json_arr_close(&j);
    json_arr_close(&j);
    if (timeout_ms > 0)
        json_kint(&j, "timeoutMs", timeout_ms);
    json_obj_close(&j);
    return buf_error(out, err);
}

static int start_and_follow(const char *project, const char *body, bool raw)
{
    char path[128];
    struct arp_err err = {0};
    cleanup_api struct api *api = NULL;
    if (command_api(&api, &err) != 0)
        return command_trouble(&err);
    snprintf(path, sizeof(path), "/projects/%s/message/stream", project);
    struct follow f;
    follow_init(&f, api, raw);
    int code = follow_start(&f, path, body, &err) == 0 ? end_code(&f.view) : command_trouble(&err);
    follow_done(&f);
    return code;
}

int command_run(int argc, const char **argv)
{
    char *project = NULL, *prompt = NULL, *script = NULL;
    int json = 0;
    long timeout_s = 0;
    const struct poptOption table[] = {
        {"project", 'p', POPT_ARG_STRING, &project, 0, "project id (or ARP_PROJECT)", "ID"},
        {"prompt", 'm', POPT_ARG_STRING, &prompt, 0, "what the run is for, in words", "TEXT"},
        {"command", 'c', POPT_ARG_STRING, &script, 0, "run this with sh -c instead of an argument list",
            "SCRIPT"},
        {"timeout", 't', POPT_ARG_LONG, &timeout_s, 0, "give the run at most this many seconds", "S"},
        {"json", 0, POPT_ARG_NONE, &json, 0, "print the event lines as they are", NULL},
        POPT_AUTOHELP POPT_TABLEEND,
    };
    poptContext pc = command_options(
        argc, argv, table, "run --project ID [--prompt TEXT] (-c SCRIPT | -- PROGRAM ARGUMENT...)");
    if (!pc)
        return EXIT_TROUBLE;
    const char **rest = poptGetArgs(pc);
    const char *id = project ? project : getenv("ARP_PROJECT");
    struct arp_err err = {0};
    cleanup_buf struct buf body;
    buf_init(&body, LIMIT_BODY);
    int code = EXIT_TROUBLE;
    if (!id || !uuid_ok(id))
        fprintf(stderr, "arpctl run: --project must be a project id\n");
    else if ((script != NULL) == (rest && rest[0]) || timeout_s < 0)
        fprintf(
            stderr, "arpctl run: give -c SCRIPT or a program with arguments, and a timeout of at least 1\n");
    else if (request_body(prompt ? prompt : "", script, rest, timeout_s * 1000, &body, &err) != 0)
        command_trouble(&err);
    else
        code = start_and_follow(id, buf_str(&body), json);
    poptFreeContext(pc);
    free(project);
    free(prompt);
    free(script);
    return code;
}

/* Lines of a JSON Lines answer, cut from the stream of bytes. */
struct line_reader {
    struct buf line;
    struct view view;
};

static int on_lines(void *ctx, const char *bytes, size_t len, struct arp_err *err)
{
    struct line_reader *r = ctx;
    for (size_t i = 0; i < len;) {
        const char *end = memchr(bytes + i, '\n', len - i);
        size_t n = end ? (size_t)(end - bytes) - i : len - i;
        buf_append(&r->line, bytes + i, n);
        i += n + (end != NULL);
        int rc = buf_error(&r->line, err);
        if (!rc && end) {
            rc = view_event(&r->view, buf_str(&r->line), r->line.len, err);
            buf_reset(&r->line);
        }
        if (rc)
            return rc;
    }
    return 0;
}

static int show_now(struct api *api, const char *run_id, bool raw, struct arp_err *err)
{
    char path[128];
    long status;
    struct line_reader r = {.view = {.out = stdout, .raw = raw}};
    buf_init(&r.line, LIMIT_LINE);
    snprintf(path, sizeof(path), "/runs/%s/events", run_id);
    struct api_request rq = {
        .method = "GET", .path = path, .accept = "application/jsonl", .sink = on_lines, .ctx = &r};
    int rc = api_call(api, &rq, &status, err);
    buf_done(&r.line);
    return rc;
}

int command_logs(int argc, const char **argv)
{
    int json = 0, follow = 0;
    const struct poptOption table[] = {
        {"follow", 'f', POPT_ARG_NONE, &follow, 0, "go on until the run ends", NULL},
        {"json", 0, POPT_ARG_NONE, &json, 0, "print the event lines as they are", NULL},
        POPT_AUTOHELP POPT_TABLEEND,
    };
    poptContext pc = command_options(argc, argv, table, "logs [-f] [--json] RUN");
    if (!pc)
        return EXIT_TROUBLE;
    const char *run_id = poptGetArg(pc);
    struct arp_err err = {0};
    cleanup_api struct api *api = NULL;
    int rc = 0;
    if (!run_id || !uuid_ok(run_id) || poptPeekArg(pc))
        rc = arp_fail(&err, ARP_E_INVALID, 0, "logs: give one run id");
    if (!rc)
        rc = command_api(&api, &err);
    if (!rc && follow) {
        struct follow f;
        follow_init(&f, api, json);
        rc = follow_run(&f, run_id, &err);
        follow_done(&f);
    } else if (!rc) {
        rc = show_now(api, run_id, json, &err);
    }
    poptFreeContext(pc);
    return rc ? command_trouble(&err) : 0;
}
