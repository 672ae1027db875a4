/*
 * Event log of one run as the agent writes it: every line is chained, appended to events.jsonl on the volume, then pushed to the
 * stream that leaves the container. A full or failing volume does not stop the stream: the orchestrator's copy is the
 * authoritative one, and evlog_error() tells the run that the volume's copy has a hole. Used by the run thread only.
 * Schema: shared/event.h, docs/formats/events.md.
 */
#ifndef ARP_AGENT_EVLOG_H
#define ARP_AGENT_EVLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/cmdlog.h"
#include "agent/evdir.h"
#include "agent/relay.h"
#include "agent/request.h"
#include "agent/snapshot.h"
#include "agent/stream.h"
#include "shared/chain.h"
#include "shared/err.h"
#include "shared/event.h"

/* Longest silence of a run that goes on. */
#define EVLOG_HEARTBEAT_MS 5000

struct evlog {
    const char *run_id; /* borrowed */
    int fd;
    struct chain chain;
    struct stream *stream; /* borrowed */
    struct buf line;
    struct buf batch;            /* lines that are chained but neither kept nor sent yet */
    uint64_t tokens;             /* lines of tokens so far */
    int64_t started_ns, last_ns; /* monotonic: open, last line */
    struct arp_err file_error;   /* first failure of the volume's copy; code 0 while whole */
    bool stream_lost;
};

/* How a run ended, for RunCompleted. Texts are borrowed; NULL leaves the member out (git_commit: null). Digests are hex, "" = null. */
struct run_end {
    const char *status;
    const char *error_message;
    const char *reason;
    const char *final_text;
    const char *git_commit;
    uint64_t commands;
    const char *command_log_head;
    const char *command_log_sha256;
    const char *outputs_sha256;
    const char *env_sha256;
    uint64_t process_records;
    const char *process_head;
    const char *processes_sha256;
    uint64_t records_dropped;
};

/* Create events.jsonl with the lines handed over. Errors: ARP_E_IO. */
int evlog_open(struct evlog *log, const struct evdir *dir, const struct run_request *req,
    struct stream *stream, struct arp_err *err);
void evlog_close(struct evlog *log);

void evlog_command_started(struct evlog *log, const struct cmd_rec *rec);
/* head: the command log's chain head after rec was appended. */
void evlog_command_finished(struct evlog *log, const struct cmd_rec *rec, const char *head);
/* head: digest of the record's line in processes.jsonl. Processes come in bursts: these lines wait for evlog_flush, or for any other
 * line, so that a burst costs one write and wakes the reader once. */
void evlog_process(struct evlog *log, const struct process_record *r, const char *head);
void evlog_flush(struct evlog *log);
/* Text of the model's answer to a call, as it passed. */
void evlog_token(struct evlog *log, uint64_t call, const char *text, size_t len);
void evlog_model_call(struct evlog *log, const struct relay_call *c);
void evlog_diff_ready(
    struct evlog *log, const struct snapshot_diff *diff, const char *tree_before, const char *tree_after);
void evlog_completed(struct evlog *log, const struct run_end *end);
/* Write a heartbeat when one is due. Returns the milliseconds until the next. */
int evlog_idle(struct evlog *log);

/* 0, or why the volume's copy is not whole. */
int evlog_error(const struct evlog *log, struct arp_err *err);

#endif
