/*
 * The single checks of `arpctl verify`: each looks at one thing, in the order of docs/VERIFY.md, and sets one verdict with a reason.
 * They share a struct verification, filled by the earlier ones for the later ones; none trusts anything that is not checked yet
 * further than to parse it with bounds. Internal to cli/.
 */
#ifndef ARP_CLI_CHECKS_H
#define ARP_CLI_CHECKS_H

#include "cli/packed.h"
#include "cli/verify.h"
#include "shared/json.h"

/* One line of a log, borrowed from the container. */
struct text_line {
    const char *text; /* without LF */
    size_t len;
};

/* A command as events.jsonl tells it. finished.text is NULL when the run ended first. */
struct seen_command {
    struct text_line started;
    struct text_line finished;
};

/* A RunProcess event. */
struct seen_process {
    struct text_line event;
    bool in_command; /* it stands between the start and the finish of the command it names */
};

/* A log whose chain was walked. */
struct walked_log {
    bool
        ok; /* every line follows from the one before; whether it ends where the statement says is its check's verdict */
    uint64_t lines;
    char head[SHA256_HEX_LEN + 1];
};

struct verification {
    const struct keyring *keys;
    struct packed zip;
    cJSON *statement;                       /* the signed payload, NULL until the envelope could be read */
    unsigned char ssh_public[SIGN_PUB_LEN]; /* key named by the SSH signature */
    bool has_ssh_public;
    struct walked_log events, command_log, process_log;
    struct text_line run_started, tool_context, diff_ready, run_completed; /* text NULL: not there */
    struct seen_command *commands;
    size_t command_count;
    struct text_line *log_lines; /* of command_log.jsonl */
    size_t log_line_count;
    struct seen_process *processes;
    size_t process_count;
    struct text_line *process_lines; /* of processes.jsonl */
    size_t process_line_count;
    uint64_t records_dropped; /* process records over the recorder's limit, as RunCompleted tells */
    bool closed, complete, volume_match; /* as signed */
    bool trusted;
    char key_id[SIGN_KEY_ID_LEN + 1];
};

/* Set the verdict. A FAIL stays; UNABLE replaces PASS only; the first of a kind keeps its reason. */
void check_fail(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void check_unable(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Reason of a check that found nothing wrong; ignored after check_fail or check_unable. */
void check_pass(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* bag.c */
void step_files(struct verification *v, struct check *c);
void step_manifests(struct verification *v, struct check *c);
/* attestation.c */
void step_ssh_signature(struct verification *v, struct check *c);
void step_signature(struct verification *v, struct check *c);
void step_trust(struct verification *v, struct check *c);
/* statement.c */
void step_statement(struct verification *v, struct check *c);
/* logs.c */
void step_events_chain(struct verification *v, struct check *c);
void step_command_log_chain(struct verification *v, struct check *c);
void step_processes_chain(struct verification *v, struct check *c);
void step_lifecycle(struct verification *v, struct check *c);
/* processes.c */
void step_processes(struct verification *v, struct check *c);
/* cross.c */
void step_commands(struct verification *v, struct check *c);
void step_outputs(struct verification *v, struct check *c);
void step_completion(struct verification *v, struct check *c);
/* context.c */
void step_environment(struct verification *v, struct check *c);
/* container.c */
void step_container_context(struct verification *v, struct check *c);

/* A digest that an event gives of a file, under the name member. Absent is wrong only in a complete record. In cross.c. */
void file_digest_check(
    const struct verification *v, const cJSON *event, const char *member, const char *file, struct check *c);
/* Parse one line of a log that was walked before. NULL when memory runs out. Free with cJSON_Delete(). */
cJSON *line_parse(const struct text_line *line);
/* Member of obj along a path of names separated by '/', or NULL. */
const cJSON *json_at(const cJSON *obj, const char *path);
/* String at path, or NULL. */
const char *json_str_at(const cJSON *obj, const char *path);

#endif
