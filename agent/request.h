/*
 * Request: the body of POST /run, parsed and checked. Everything in it came over the network from the orchestrator; it is
 * believed only after json_check_object and the rules here. Owns its strings. Format: docs/AGENT.md, "POST /run".
 */
#ifndef ARP_AGENT_REQUEST_H
#define ARP_AGENT_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/seccomp.h"
#include "shared/buf.h"
#include "shared/chain.h"
#include "shared/err.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "shared/model.h"
#include "shared/uuid.h"

/* A body: what the public API lets in, once more for the events handed over (their prompt may be escaped), and the fixed fields. */
#define REQUEST_BODY_MAX ((size_t)LIMIT_BODY + 2u * LIMIT_LINE)
/* Artifact patterns of one run; two is the usual number. */
#define REQUEST_PATTERNS_MAX 32

struct command {
    char **argv; /* what is executed, NULL-terminated: for a shell command {"/bin/sh","-c",text} */
    size_t argc;
    char *text; /* one line for people: the shell string, or argv quoted for a POSIX shell */
    bool shell;
    char *cwd; /* relative to the repository, "." for its root, no "..", no symlinks when opened */
    int64_t timeout_ms;
};

struct run_request {
    char run_id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    char project_id[UUID_LEN + 1];
    char workspace_id[UUID_LEN + 1];
    const char *engine;       /* static: "shell", "codex", "claude", "opencode", "builtin", or "auto" */
    struct command *commands; /* of shell alone; none for the others */
    size_t command_count;
    /* What the other engines work from; shell reads none of it. NULL: not given. */
    char *prompt;       /* always there but for shell, at most LIMIT_PROMPT */
    char *model;        /* model_name_ok */
    char *instructions; /* at most LIMIT_INSTRUCTIONS */
    char *thread_id;    /* model_thread_ok */
    bool has_dialect;   /* what the provider speaks: responses, chat or messages */
    enum model_dialect dialect;
    int64_t max_steps, max_tokens; /* 0: no limit of the request's */
    int64_t timeout_ms;
    enum seccomp_profile
        profile;        /* SECCOMP_DEFAULT with a custom profile: its programs stand beside the custom one */
    char *profile_json; /* canonical text of a custom profile (oci_profile_write), NULL for a named one */
    char profile_sha256[SHA256_HEX_LEN + 1];   /* of that text; "" for a named one */
    char *artifact_dirs[REQUEST_PATTERNS_MAX]; /* "results" for a pattern of all below results/ */
    size_t artifact_dir_count;
    struct buf prefix;  /* the lines handed over, each with LF: the beginning of events.jsonl */
    struct chain chain; /* the cursor behind them */
};

/* Errors: those of json_parse, ARP_E_UNKNOWN_FIELD, ARP_E_FIELD (details.field), ARP_E_TOO_LARGE, ARP_E_NOMEM. */
int request_parse(const char *body, size_t len, struct run_request **ret, struct arp_err *err);
void request_free(struct run_request *r);
/* Fill c for a program: argv (at least one) is copied, text is made of it, cwd is the repository's root. shell: argv is a shell, "-c" and a text.
 * Errors: ARP_E_NOMEM, ARP_E_FIELD (over LIMIT_ARGV_BYTES or LIMIT_ARGV_ITEMS); command_done all the same. */
int command_init(struct command *c, const char *const *argv, size_t argc, bool shell, int64_t timeout_ms,
    struct arp_err *err);
/* Make text of argv: its item text_at, or all of them quoted when that is 0. Errors: ARP_E_NOMEM. */
int command_make_text(struct command *c, size_t text_at, struct arp_err *err);
void command_done(struct command *c); /* accepts a zeroed one */

static inline void request_free_ptr(struct run_request **r)
{
    request_free(*r);
}
#define cleanup_request __attribute__((cleanup(request_free_ptr)))

#endif
