/*
 * Scripts: what execve(2) makes of a file that begins with #!. Follows the lines from the file asked for to the program that runs, and works
 * out the arguments that program should have got. The files are read while the process is held before its first instruction, so they are
 * what the interpreter is about to open, unless somebody swaps them in between; the interpreter's own opening is not seen.
 * On the recorder's thread only. Source: execve(2), "Interpreter scripts"; Linux fs/binfmt_script.c.
 */
#ifndef ARP_AGENT_SCRIPT_H
#define ARP_AGENT_SCRIPT_H

#include <stdbool.h>
#include <sys/stat.h>

#include "agent/exehash.h"
#include "agent/process.h"
#include "agent/tracee.h"

struct script_level {
    char *path;        /* as the kernel hands it to the interpreter */
    char *interpreter; /* of its #! line */
    char *argument;    /* the rest of the line, NULL when there is none */
};

struct script_chain {
    pid_t pid;
    struct exehash *cache; /* borrowed */
    struct script_level levels[TRACEE_SCRIPTS];
    unsigned count;
};
void script_chain_done(struct script_chain *c);

/* True when the open file is one that the kernel itself can load (ELF). */
bool script_is_program(int fd);
/* True when the file asked for is a script whose last interpreter is the file exe (NULL: any program); then c holds the levels, outermost first, and ret, unless
 * NULL, the scripts with their digests. */
bool script_follow(struct script_chain *c, const struct tracee_asked *asked, const struct stat *exe,
    struct process_record *ret);
/* The arguments a program gets that was started through c (no level: those asked for). ret->bytes is owned by the caller. */
void script_expect(const struct script_chain *c, const struct tracee_asked *asked, struct tracee_args *ret);

#endif
