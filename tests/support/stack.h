/*
 * The real stack for integration tests: an orchestrator process of the built program, on its own database, state directory, evidence root
 * and port, with the real container engine and the workspace image. Needs a running engine and the image (ci_v0.3.sh sees to both).
 * What it makes at the engine carries its own installation id, which goes to the file ARP_TEST_MADE if that is set, and is removed by stack_stop. Programs are found under $ARP_BUILD (build).
 */
#ifndef ARP_TESTS_SUPPORT_STACK_H
#define ARP_TESTS_SUPPORT_STACK_H

#include <stdbool.h>

#include "tests/support/client.h"
#include "tests/support/process.h"

struct stack;

/* Start it; env: "NAME=value" … NULL-terminated, on top of what the stack needs (NULL: none). NULL when it failed (reason on stderr). */
struct stack *stack_start(const char *const *env);
/* A second process of first's installation: the same database, state directory, evidence root and settings as of now, its own port and log.
 * Stop it before the first one. NULL when it failed (reason on stderr). */
struct stack *stack_beside(const struct stack *first);
/* SIGTERM, wait, remove its containers, volumes and files. Returns the orchestrator's exit code. */
int stack_stop(struct stack *s);
/* kill -9, and start again on the same database and directories (on a new port). */
void stack_kill(struct stack *s);
bool stack_restart(struct stack *s);
/* "NAME=value" for the processes started from now on. */
void stack_set(struct stack *s, const char *setting);
/* Start a program that is to end by itself, listening or not, and wait a minute at most; *ret_status: as of waitpid. */
bool stack_restart_to_crash(struct stack *s, int *ret_status);
/* From the next start on, run this program of the build folder instead of arp-orchestrator. */
void stack_use(struct stack *s, const char *program);
/* SIGTERM and wait; returns the exit code. stack_restart brings it back. */
int stack_terminate(struct stack *s);

/* Engine network of all stacks of this program: ARP_TEST_NETWORK, default arp-test-internal. */
const char *stack_network(void);
const char *stack_url(const struct stack *s);
const char *stack_admin_key(const struct stack *s);
const char *stack_evidence_root(const struct stack *s);
const char *stack_state_dir(const struct stack *s);
/* The orchestrator's log so far (free()). */
char *stack_log(const struct stack *s);
/* Installation id of the running orchestrator. */
const char *stack_installation(const struct stack *s);
/* An installation id that a test makes objects of at the engine by hand, for who cleans up should the test be killed (ci_v0.3.sh). */
void stack_note_made(const char *installation);
pid_t stack_pid(const struct stack *s);

/* A path of the API with one answer. Returns the status. */
long stack_call(const struct stack *s, const char *key, const char *method, const char *path,
    const char *body, struct reply *ret);

struct tenant {
    char user_id[40];
    char key[80];
    char project_id[40];
    char workspace_id[40];
};
/* A user with a key and a project. limit < 0: the default quota. */
bool stack_tenant(const struct stack *s, const char *name, int limit, struct tenant *ret);
bool stack_project(const struct stack *s, struct tenant *t, const char *name);

/* POST /projects/:id/message with {"commands":commands} (JSON text) and wait for the run's end. Returns the status. */
long stack_run(const struct stack *s, const struct tenant *t, const char *commands, struct reply *ret);
/* GET a path until it answers status want or the seconds are over; returns the last status. */
long stack_wait(
    const struct stack *s, const char *key, const char *path, long want, int seconds, struct reply *ret);
/* Wait for the evidence of a run, unzip it; returns the directory <dir>/<runId> (static buffer), NULL on failure. */
const char *stack_unzip_evidence(const struct stack *s, const struct tenant *t, const char *run_id);
/* GET /runs/:id until member status is final or the seconds are over; true when it ended. */
bool stack_wait_run(
    const struct stack *s, const struct tenant *t, const char *run_id, int seconds, struct reply *ret);

/* Value of a metric's sample as /metrics shows it, such as "arp_runs_total{status=\"failed\",streaming=\"true\"}"; 0 when absent. */
double stack_metric(const struct stack *s, const char *sample);
/* The text of a file of at most 64 MiB (free()); NULL when it can't be read. */
char *read_text(const char *dir, const char *name);

#endif
