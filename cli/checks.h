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

/* A command as events.jsonl tells it. finished.text is NULL when the run ended first. Its line in the command log is the one that stands
 * where its end stands among the ends: commands of an engine run one beside the other. */
struct seen_command {
    struct text_line started;
    struct text_line finished;
    size_t line; /* NO_LINE: none that the events name */
};
#define NO_LINE SIZE_MAX

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

#define WORKFLOW_ENVELOPE "attestation/workflow.intoto.jsonl"

struct verification {
    const struct keyring *keys;
    bool workflow; /* the bundle is of a workflow run; has its own files and steps */
    bool engine;   /* it is of an engine's run, with three files more (bag_engine_files) */
    struct packed zip;
    cJSON *statement;                       /* the signed payload, NULL until the envelope could be read */
    unsigned char ssh_public[SIGN_PUB_LEN]; /* key named by the SSH signature */
    bool has_ssh_public;
    struct walked_log events, command_log, process_log;
    struct text_line run_started, tool_context, diff_ready, run_completed; /* text NULL: not there */
    struct seen_command *commands;                                         /* by id */
    size_t command_count;
    size_t *finish_order; /* ids, as commands ended: of line k of the command log */
    size_t finished_count;
    struct text_line *log_lines; /* of command_log.jsonl */
    size_t log_line_count;
    struct seen_process *processes;
    size_t process_count;
    struct text_line *process_lines; /* of processes.jsonl */
    size_t process_line_count;
    struct walked_log model_log; /* of an engine's run; so are the next */
    struct text_line *model_lines;
    size_t model_line_count;
    struct text_line *model_events; /* RunModelCall */
    size_t model_event_count;
    bool reconciled; /* the counts were read and are those of the files */
    struct verify_reconciliation reconciliation;
    uint64_t records_dropped; /* process records over the recorder's limit, as RunCompleted tells */
    struct walked_log workflow_log;
    struct text_line *workflow_lines; /* of workflow.jsonl */
    size_t workflow_line_count;
    size_t bundles_listed; /* of its steps */
    cJSON *document;       /* workflow.json, NULL until it could be read */
    bool closed, complete,
        volume_match; /* as signed; of a workflow run the second only, the others are true */
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
/* model_log.c */
void step_model_log_chain(struct verification *v, struct check *c);
void step_model_log(struct verification *v, struct check *c);
void step_engine_log(struct verification *v, struct check *c);
/* reconciliation.c */
void step_reconciliation(struct verification *v, struct check *c);
/* context.c */
void step_environment(struct verification *v, struct check *c);
/* container.c */
void step_container_context(struct verification *v, struct check *c);
/* workflow.c */
void step_workflow_statement(struct verification *v, struct check *c);
void step_workflow_chain(struct verification *v, struct check *c);
void step_workflow(struct verification *v, struct check *c);
void step_workflow_log(struct verification *v, struct check *c);
/* workflow_bundles.c */
void step_bundles(struct verification *v, struct check *c);
/* Verify the steps' bundles in dir, one more check in r for each that is listed; their numbers go to r too. */
void workflow_bundles_verify(struct verification *v, const struct verify_options *o, struct verify_report *r);

/* Verify one bundle as verify_bundle() does, and leave what was read in *v, which must be zeroed, for more checks; release with verification_done(). */
enum verify_exit verification_make(
    const char *path, const struct verify_options *o, struct verification *v, struct verify_report *r);
void verification_done(struct verification *v);

/* Walk the chain of a log whose lines name their run as id_member; its end must be the signed one. In logs.c, so is the next. */
void log_walk(const struct verification *v, struct walked_log *w, const char *file, const char *id_member,
    struct check *c);
/* The lines of a log that was walked, to be found by number; free(). *ret_n is 0 when it is not sound. */
struct text_line *log_split(
    const struct verification *v, struct walked_log *w, const char *file, size_t *ret_n);
/* What an engine's run has besides. In bag.c, so are the next two. */
#define BAG_ENGINE_FILES 3
extern const char *const bag_engine_files[BAG_ENGINE_FILES];
/* One of them is there. */
bool bag_has_engine(const struct packed *zip);
/* Read "<64 hex>  <name>\n" at *at. Returns false when it is not that. */
bool manifest_line(
    const struct packed_file *m, size_t *at, char digest[SHA256_HEX_LEN + 1], char *name, size_t name_size);
/* Type of the statement, and that it is about this bundle. In statement.c, so are the next two. */
void statement_kind(const struct verification *v, const char *build_type, const char *what, struct check *c);
/* A subject "<id>/<file>" must have that file's digest; false: it is no such subject. */
bool statement_subject_is_file(const struct verification *v, const cJSON *item, struct check *c);
/* The byproducts of those names must be there with their files' digests. */
void statement_byproducts(const struct verification *v, const char *const *names, size_t n, struct check *c);
/* Two accounts of one container_context: the member that differs is named. In container.c, so is the next. */
void same_context(const cJSON *a, const char *a_name, const cJSON *b, const char *b_name, struct check *c);
/* Digest of the bytes of a JSON text between begin and the first end behind it: of a member that is hashed as it stands. In a JSON string
 * every quote is escaped, so texts that hold plain quotes can be found like this. false: they are not there. */
bool between_digest(
    const struct packed_file *f, const char *begin, const char *end, char ret_hex[SHA256_HEX_LEN + 1]);

/* data/blobs/sha256-<hex>, or NULL. In cross.c, so is the next. */
const struct packed_file *find_blob(const struct verification *v, const char *hex);
/* A digest that an event gives of a file, under the name member. Absent is wrong only in a complete record. */
void file_digest_check(
    const struct verification *v, const cJSON *event, const char *member, const char *file, struct check *c);
/* Parse one line of a log that was walked before. NULL when memory runs out. Free with cJSON_Delete(). */
cJSON *line_parse(const struct text_line *line);
/* Member of obj along a path of names separated by '/', or NULL. */
const cJSON *json_at(const cJSON *obj, const char *path);
/* String at path, or NULL. */
const char *json_str_at(const cJSON *obj, const char *path);

#endif
