/*
 * What really ran in one engine's run: the commands of command_log.jsonl with the numbers that the events give them, each held against the
 * kernel's record of its process in processes.jsonl. All of it comes from a workspace: bounded; lines that are not what they should be are
 * passed over. Formats: docs/formats/command_log.md, processes.md, events.md.
 */
#ifndef ARP_ORCHESTRATOR_EVIDENCE_RAN_H
#define ARP_ORCHESTRATOR_EVIDENCE_RAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/evidence/lines.h"
#include "shared/command_text.h"
#include "shared/err.h"
#include "shared/hash.h"

/* Programs outside the commands that are listed by name. */
#define RAN_PROGRAMS_MAX 64
#define RAN_SIGNAL_MAX   15

/* The shim's word about a command against the kernel's. */
enum ran_kernel {
    RAN_UNKNOWN, /* nothing to compare: abandoned, never started, records dropped, the kernel does not tell */
    RAN_SAME,
    RAN_OTHER,  /* the process ended in another way */
    RAN_NOWHERE /* there was no such process */
};

struct ran_end {
    int64_t exit_code; /* -1: none known */
    char signal[RAN_SIGNAL_MAX + 1];
};

struct ran_command {
    int64_t id;  /* -1: not known, its end was not streamed */
    size_t line; /* of command_log.jsonl */
    bool shim;   /* else the built-in loop's */
    bool abandoned, setup;
    int64_t pid;
    int64_t start_us, end_us;
    struct ran_end end, kernel_end;
    enum ran_kernel kernel;
    struct command_texts texts;
    char outputs
        [3][SHA256_HEX_LEN +
            1]; /* of all its output: as it is, without its last line end, without white space at its end */
    size_t output_count; /* 0: both streams were written to, or not all is known */
    int64_t within;      /* id of the shim's command in whose process it was started; -1 none */
    bool taken;          /* for the caller */
};

/* A program that was executed outside every command: the engine's own doing. */
struct ran_program {
    char exe[256]; /* cut; "" unknown */
    uint64_t execs;
};

struct ran {
    struct ran_command *commands; /* the shim's and the built-in loop's, in order of their numbers */
    size_t count;
    struct ran_program programs[RAN_PROGRAMS_MAX];
    size_t program_count;
    uint64_t outside; /* execs outside commands, also of programs that are not listed */
};

/* *ret: ran_done. Errors: ARP_E_NOMEM. */
int ran_read(struct log_text command_log, struct log_text processes, struct log_text events, struct ran *ret,
    struct arp_err *err);
void ran_done(struct ran *r);

#endif
