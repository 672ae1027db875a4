/*
 * Runner: at most one run at a time. Owns what runs share (seccomp programs, digests of programs, the spare snapshot helper
 * and launcher) and the running thread.
 * Thread-safe. The run itself, top to bottom, is agent/run.c.
 */
#ifndef ARP_AGENT_RUNNER_H
#define ARP_AGENT_RUNNER_H

#include <pthread.h>
#include <stdbool.h>

#include "agent/box.h"
#include "agent/cmdenv.h"
#include "agent/engine.h"
#include "agent/metadata.h"
#include "agent/reaper.h"
#include "agent/relay.h"
#include "agent/request.h"
#include "agent/seccomp.h"
#include "agent/snapshot.h"
#include "agent/stream.h"
#include "agent/workspace.h"
#include "shared/err.h"

/* Borrowed by the runner for its whole life. */
struct runner_config {
    struct relay *relay;
    struct reaper *reaper;
    const struct workspace *workspace;
    const struct cmdenv *env;
    const struct agent_info *info;
};

/* Why a run is stopped before its end. */
enum stop_reason { STOP_NONE, STOP_CANCELLED, STOP_ORCHESTRATOR_GONE, STOP_AGENT_SHUTDOWN };

struct runner;

/* Compiles the seccomp program of helpers and starts the first snapshot helper and launcher. Errors: ARP_E_UNSUPPORTED, ARP_E_IO, ARP_E_NOMEM. */
int runner_new(const struct runner_config *config, struct runner **ret, struct arp_err *err);
/* Run req on a thread of its own. Takes over req and peer_fd also on errors; takes a reference of stream, where its lines go. peer_fd: the
 * connection, watched for a hang-up, -1 for none.
 * Errors: ARP_E_BUSY, ARP_E_CONFLICT (evidence of that run exists), ARP_E_IO, ARP_E_NOMEM. */
int runner_start(
    struct runner *r, struct run_request *req, struct stream *stream, int peer_fd, struct arp_err *err);
/* Ask the run to stop. run_id NULL means whichever runs. Errors: ARP_E_NOT_FOUND. */
int runner_stop(struct runner *r, const char *run_id, enum stop_reason why, struct arp_err *err);
/* True and the id while a run is in progress. */
bool runner_current(struct runner *r, char ret_id[UUID_LEN + 1]);
/* Stop the run, wait for its end, refuse new ones. */
void runner_shutdown(struct runner *r);
/* Shut down first if need be. Accepts NULL. */
void runner_free(struct runner *r);

const struct runner_config *runner_config(const struct runner *r);
/* The programs of a built-in profile, compiled when first asked for; gateway: with streams_only. Errors: those of seccomp_compile. */
int runner_seccomp(struct runner *r, enum seccomp_profile p, bool gateway, const struct seccomp_prog **ret,
    struct arp_err *err);
/* What a box is opened with. Borrowed for its life; the last three as in struct box_spec. */
struct runner_box {
    const struct seccomp_prog *seccomp;
    const char *const *vars;
    const char *home;
    uint16_t connect_port;
};
/* A box with these programs. For whoever holds the workload lock. Errors: those of box_open, launcher_start. */
int runner_open_box(struct runner *r, const struct runner_box *want, struct box **ret, struct arp_err *err);
/* What the image has now, as engine_probe; versions are those that were told. May read for seconds: not for whoever holds the workload lock
 * longer than it must. */
void runner_engines(struct runner *r, const char *only, struct engine_info ret[ENGINES]);
/* Versions that the programs told; they are kept as long as these are the same. */
void runner_know_versions(struct runner *r, const struct engine_info engines[ENGINES]);
/* Start the helpers that are used up: starting one takes longer than a small run. Failures are logged, whoever needs one tries again. */
void runner_make_spares(struct runner *r);
/* Held by whoever has processes of the workload's uid: tree kill knows only the uid. */
pthread_mutex_t *runner_workload_lock(struct runner *r);

/* The spare snapshot helper, or a new one. Errors: as snapshot_start. */
int runner_take_snapshot(struct runner *r, struct snapshot **ret, struct arp_err *err);
/* For the run thread: the run is over, the next may start. */
void runner_finished(struct runner *r);

#endif
