/*
 * Process record: one thing the kernel showed about a process of a run: it executed a program, or it ended. Made by agent/proctable.c on
 * the recorder's thread, handed over as a list, written by the run thread to processes.jsonl (agent/proclog.h) and as event
 * RunProcess (agent/evlog.h). Format: docs/formats/processes.md.
 */
#ifndef ARP_AGENT_PROCESS_H
#define ARP_AGENT_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/tracee.h"
#include "shared/clock.h"
#include "shared/hash.h"
#include "shared/json.h"

enum process_flag {
    PROCESS_ARGV_CHANGED =
        1 << 0, /* the program got other arguments than were asked for when it was last looked at */
    PROCESS_PATH_CHANGED = 1 << 1, /* another file was executed than was asked for */
    PROCESS_MEMFD = 1 << 2,        /* the file has no name: memfd_create(2) */
    PROCESS_DELETED = 1 << 3,      /* the file was unlinked */
    PROCESS_TRACED = 1 << 4,       /* another process of the run traces this one and may have altered it */
    PROCESS_UNHASHED = 1 << 5,     /* the executed file could not be read whole */
};
#define PROCESS_FLAGS 6u

struct process_script {
    char *path;
    char sha256[SHA256_HEX_LEN + 1]; /* "" when it could not be read */
};

struct process_record {
    struct process_record *next;
    bool is_exit;
    char at[CLOCK_ISO_LEN + 1];
    uint64_t command_id;
    pid_t pid;
    /* exec; texts are owned, NULL when unknown */
    pid_t ppid;
    uid_t uid;
    bool confirmed; /* seen running, before its first own instruction */
    char *exe;
    char exe_sha256[SHA256_HEX_LEN + 1]; /* "" when unknown */
    struct process_script scripts[TRACEE_SCRIPTS];
    unsigned script_count;
    struct tracee_args args;
    char *cwd;
    unsigned flags; /* of enum process_flag */
    /* exit */
    uint64_t exec_line; /* number of the process's latest exec record */
    bool has_status;
    int status; /* of wait(2) */
};

/* NULL when out of memory. */
struct process_record *process_record_new(bool is_exit, uint64_t command_id, pid_t pid);
void process_record_free(struct process_record *r);
/* Free a list linked by next. */
void process_records_free(struct process_record *list);

/* "SIGKILL", or "SIG42" for one without a name. Returns ret. */
#define SIGNAL_NAME_MAX 24
const char *signal_name(int sig, char ret[SIGNAL_NAME_MAX]);

/* The members from commandId on, which processes.jsonl and RunProcess share. */
void process_record_put(struct json *j, const struct process_record *r);

#endif
