/*
 * The parts of run_story.h that the telling of an engine's run shares: model_story.c.
 */
#ifndef ARP_TESTS_SUPPORT_RUN_STORY_INTERN_H
#define ARP_TESTS_SUPPORT_RUN_STORY_INTERN_H

#include <limits.h>

#include "shared/event.h"
#include "tests/support/process_lines.h"
#include "tests/support/run_story.h"

#define FILE_MAX (64u << 20)

/* A run being told: the logs with their chains, and a clock. */
struct story {
    const char *run_id;
    const struct fixture_step *step; /* NULL: a run of its own */
    char dir[PATH_MAX];
    struct buf events, log, processes, model_log;
    struct chain events_chain, log_chain, processes_chain, model_chain;
    int64_t now_us;
    uint64_t started, commands; /* that began, that ended */
    uint64_t dropped;           /* process records over the limit */
    const char *engine;         /* NULL: "shell" */
    char engine_sha256[SHA256_HEX_LEN + 1];
    uint64_t model_calls;
};

struct command {
    const char *text;
    const char *out, *err;
    size_t out_len, err_len;
    int exit_code;
    const struct process_line *processes; /* ended by one without pid */
    const char *origin;                   /* NULL: of the request */
    int pid;                              /* 0: not told */
    bool abandoned;
};

void story_event_begin(struct story *s, struct json *j, enum event_type type);
void story_event_end(struct story *s, struct json *j);
void story_tell_command_started(struct story *s, const struct command *c);
/* A process is recorded and streamed; streamed false: the agent was lost in between. */
void story_tell_process(struct story *s, const struct process_line *p, bool streamed);
void story_tell_command_finished(struct story *s, const struct command *c, uint64_t id);
void story_tell_diff(struct story *s, const char *diff);
void story_tell_end(struct story *s, const char *status, bool changed);

/* All of an engine's run behind ToolContext; engine.jsonl, model_log.jsonl and reconciliation.json are written. */
void model_story_tell(struct story *s);
/* Members of metadata.json, led by a comma. Static. */
const char *model_story_facts(struct story *s);
extern const struct bundle_program model_story_program;

#endif
