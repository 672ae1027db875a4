/*
 * Lines of processes.jsonl and their RunProcess events for tests, written as docs/formats/processes.md says and with none of the agent's
 * code. One thread.
 */
#ifndef ARP_TESTS_SUPPORT_PROCESS_LINES_H
#define ARP_TESTS_SUPPORT_PROCESS_LINES_H

#include "shared/chain.h"

struct process_line {
    bool is_exit;
    uint64_t command;
    int pid;
    /* exec */
    const char *exe;         /* NULL: not known */
    const char *script;      /* a #! file between the name and exe; NULL: none */
    const char *const *argv; /* NULL-terminated */
    const char *flag;        /* NULL: none */
    bool unconfirmed;
    /* exit */
    uint64_t exec_seq;
    int exit_code;      /* < 0: null */
    const char *signal; /* NULL: null */
};

/* Append the line with its LF and move the chain. */
void process_line_put(struct buf *log, struct chain *c, const char *ts, const struct process_line *p);
/* Append the members of its event, from phase to processHead; c stands behind the line. */
void process_line_event(struct json *j, const struct chain *c, const char *ts, const struct process_line *p);

#endif
