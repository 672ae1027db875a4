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

/* What the options say, as popt fills it in: texts are owned but for argv. */
struct run_options {
    char *project;
    char *agent;            /* NULL: the server's default */
    const char **overrides; /* AGENT=CONTAINER each, NULL-terminated; NULL: none */
    char *engine;           /* NULL: the agent's; so for the next two */
    char *model;
    char *provider;
    char *thread; /* NULL: a new one */
    char *prompt;
    char *script;
    long timeout_s;
    int json;
    const char **argv; /* NULL-terminated; NULL: none */
};

static void run_options_done(struct run_options *o)
{
    for (const char **p = o->overrides; p && *p; p++)
        free((char *)*p);
    free(o->overrides);
    char *const texts[] = {
        o->project, o->agent, o->engine, o->model, o->provider, o->thread, o->prompt, o->script};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free(texts[i]);
}

static bool has_commands(const struct run_options *o)
{
    return o->script || (o->argv && o->argv[0]);
}

static int write_overrides(struct json *j, const char **overrides, struct arp_err *err)
{
    json_key(j, "container_overrides");
    json_obj_open(j);
    for (; *overrides; overrides++) {
        char key[LIMIT_NAME + 1];
        size_t n = strcspn(*overrides, "=");
        if ((*overrides)[n] != '=' || n >= sizeof(key))
            return arp_fail(
                err, ARP_E_INVALID, 0, "run: --override is AGENT=CONTAINER, not '%s'", *overrides);
        snprintf(key, sizeof(key), "%.*s", (int)n, *overrides);
        json_kstr(j, key, *overrides + n + 1);
    }
    json_obj_close(j);
    return 0;
}

/* [["sh","-c",script]] or [argv] */
static void write_commands(struct json *j, const struct run_options *o)
{
    json_key(j, "commands");
    json_arr_open(j);
    json_arr_open(j);
    if (o->script) {
        json_str(j, "sh");
        json_str(j, "-c");
        json_str(j, o->script);
    }
    for (const char **arg = o->argv; arg && *arg; arg++)
        json_str(j, *arg);
    json_arr_close(j);
    json_arr_close(j);
}

/* The body of the message. Without commands the agent's engine runs the prompt. */
static int request_body(const struct run_options *o, struct buf *out, struct arp_err *err)
{
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    if (o->agent)
        json_kstr(&j, "agent", o->agent);
    json_kstr(&j, "prompt", o->prompt ? o->prompt : "");
    const char *const wishes[][2] = {
        {"engine", o->engine}, {"model", o->model}, {"provider", o->provider}, {"threadId", o->thread}};
    for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
        if (wishes[i][1])
            json_kstr(&j, wishes[i][0], wishes[i][1]);
    }
    if (has_commands(o))
        write_commands(&j, o);
    if (o->timeout_s > 0)
        json_kint(&j, "timeoutMs", (int64_t)o->timeout_s * 1000);
    int rc = o->overrides ? write_overrides(&j, o->overrides, err) : 0;
    json_obj_close(&j);
    return rc ? rc : buf_error(out, err);
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

static int check_options(const char *project, const struct run_options *o, struct arp_err *err)
{
    if (!project || !uuid_ok(project))
        return arp_fail(err, ARP_E_INVALID, 0, "run: --project must be a project id");
    if ((o->script && o->argv && o->argv[0]) || (!has_commands(o) && !o->prompt))
        return arp_fail(err, ARP_E_INVALID, 0,
            "run: give -c SCRIPT, a program with arguments, or a prompt for the agent");
    if (o->timeout_s < 0)
        return arp_fail(err, ARP_E_INVALID, 0, "run: give a timeout of at least 1");
    return 0;
}

int command_run(int argc, const char **argv)
{
    struct run_options o = {0};
    const struct poptOption table[] = {
        {"project", 'p', POPT_ARG_STRING, &o.project, 0, "project id (or ARP_PROJECT)", "ID"},
        {"agent", 'a', POPT_ARG_STRING, &o.agent, 0, "whose run it is, instead of the agent 'default'",
            "KEY"},
        {"override", 'o', POPT_ARG_ARGV, &o.overrides, 0,
            "run that agent in this container; once for each agent", "AGENT=ID"},
        {"prompt", 'm', POPT_ARG_STRING, &o.prompt, 0, "what the run is for, in words", "TEXT"},
        {"engine", 'e', POPT_ARG_STRING, &o.engine, 0,
            "who does what the prompt says: codex, claude, opencode, builtin, or auto", "NAME"},
        {"model", 0, POPT_ARG_STRING, &o.model, 0, "which model the engine asks for", "NAME"},
        {"provider", 0, POPT_ARG_STRING, &o.provider, 0, "whose models", "NAME"},
        {"thread", 0, POPT_ARG_STRING, &o.thread, 0, "go on with the conversation of an earlier run", "ID"},
        {"command", 'c', POPT_ARG_STRING, &o.script, 0, "run this with sh -c instead of an argument list",
            "SCRIPT"},
        {"timeout", 't', POPT_ARG_LONG, &o.timeout_s, 0, "give the run at most this many seconds", "S"},
        {"json", 0, POPT_ARG_NONE, &o.json, 0, "print the event lines as they are", NULL},
        POPT_AUTOHELP POPT_TABLEEND,
    };
    poptContext pc = command_options(argc, argv, table,
        "run --project ID [--agent KEY] [--override AGENT=ID] [--prompt TEXT] (-c SCRIPT | -- PROGRAM "
        "ARGUMENT...)\n  or:  run --project ID [--agent KEY] [--engine NAME] [--model NAME] [--provider "
        "NAME] "
        "[--thread ID] --prompt TEXT");
    if (!pc) {
        run_options_done(&o);
        return EXIT_TROUBLE;
    }
    o.argv = poptGetArgs(pc);
    const char *id = o.project ? o.project : getenv("ARP_PROJECT");
    struct arp_err err = {0};
    cleanup_buf struct buf body;
    buf_init(&body, LIMIT_BODY);
    int rc = check_options(id, &o, &err);
    if (!rc)
        rc = request_body(&o, &body, &err);
    int code = rc ? command_trouble(&err) : start_and_follow(id, buf_str(&body), o.json);
    poptFreeContext(pc);
    run_options_done(&o);
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
