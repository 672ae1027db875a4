/*
 * Every maximum in one place, each with its reason. Sizes in bytes unless the name says otherwise.
 */
#ifndef ARP_SHARED_LIMITS_H
#define ARP_SHARED_LIMITS_H

/* Nothing we read or write nests deeper than a dozen levels; 32 leaves room and keeps the parser's stack small. */
#define LIMIT_JSON_DEPTH 32
/* Request bodies: a prompt plus a command list; 1 MiB is far above any real one and cheap to hold. */
#define LIMIT_BODY (1u << 20)
/* stdout/stderr text in a log line (spec 2.3: "max 8KB per field"). */
#define LIMIT_CAPTURE_HEAD 8192
/* One event or command line: two captures of 8 KiB and a command that stands in it twice (as text and as argv), where each byte may
 * become a 6-byte escape, and the fixed fields. */
#define LIMIT_LINE (1u << 20)
/* A run's command list. */
#define LIMIT_COMMANDS   256
#define LIMIT_ARGV_ITEMS 1024
/* Lines of command_log.jsonl: a coding agent in a long turn runs some hundred commands. */
#define LIMIT_COMMAND_LINES 4096
/* Bytes of command_log.jsonl past which no further command of an engine starts: they stand in events.jsonl a second time, and their commands
 * a third, which together with the 32 that may be open then stays below LIMIT_EVENTS_BYTES. */
#define LIMIT_COMMAND_BYTES (48u << 20)
/* All argv bytes of one command: 2 * 6 * 64 KiB + 2 * 6 * 8 KiB stays under LIMIT_LINE. */
#define LIMIT_ARGV_BYTES (64u << 10)
/* Stands in RunStarted once: 6 * 128 KiB. */
#define LIMIT_PROMPT (128u << 10)
/* Full output of one stream kept as a blob; more is hashed and counted but not kept. */
#define LIMIT_BLOB (64u << 20)
/* All blobs of one run; past it blobs are hashed and counted but not kept. */
#define LIMIT_RUN_BLOBS (512u << 20)
/* diff.patch kept in evidence; over it the run records `truncated` and keeps the trees' ids. */
#define LIMIT_DIFF (32u << 20)
/* outputs.json lists at most this many artifacts; the count of all is recorded. */
#define LIMIT_ARTIFACTS    100000
#define LIMIT_OUTPUTS_JSON (64u << 20)
/* /metadata and env.json answers of an agent. */
#define LIMIT_METADATA (256u << 10)
/* Lines of processes.jsonl in one run: a parallel build of a large project starts some thousand processes, and each is an exec and an exit
 * line. More are dropped and counted: the other evidence of a run must not drown in them. */
#define LIMIT_PROCESS_RECORDS 20000
/* All bytes of processes.jsonl: 20000 lines of ordinary length (400 to 800 bytes). They stand in events.jsonl a second time, where they take
 * at most an eighth of LIMIT_EVENTS_BYTES. */
#define LIMIT_PROCESS_BYTES (16u << 20)
/* A whole events.jsonl or command_log.jsonl as the orchestrator accepts it. */
#define LIMIT_EVENTS_BYTES (256u << 20)
/* Wall clock of a run and of one command. */
#define LIMIT_RUN_TIMEOUT_MS (24ll * 3600 * 1000)
/* A caller's seccomp profile: Docker's own has 30 rules with 600 names and 20 conditions. Each name costs about 2 and each condition about
 * 6 of the 4096 instructions a program may have. */
#define LIMIT_SECCOMP_RULES      256
#define LIMIT_SECCOMP_NAMES      1024
#define LIMIT_SECCOMP_CONDITIONS 256
/* Rules with conditions on one call: the time to compile them grows with the square, 40 of them took up to 130 ms. */
#define LIMIT_SECCOMP_RULES_OF_CALL 32
/* Its canonical text: 1024 names of 67 bytes and 256 conditions of 90 stay under it. */
#define LIMIT_SECCOMP_BYTES (128u << 10)
/* A container's definition: such a profile, with the white space that people write. */
#define LIMIT_CONTAINER_BODY (2u * LIMIT_SECCOMP_BYTES)
/* An agent's instructions: a long system prompt has 10 KiB. Every run's context repeats them. */
#define LIMIT_INSTRUCTIONS (32u << 10)
/* An agent's definition: instructions whose every byte is written as a 6-byte escape, and a few short fields. */
#define LIMIT_AGENT_BODY (6u * LIMIT_INSTRUCTIONS + (16u << 10))
/* ARP_AGENTS_PER_USER at most: they are listed in one answer, 256 * 6 * 32 KiB of it instructions at the worst. */
#define LIMIT_AGENTS 256
/* Providers of models that a user may have: one for each there is, and some for trying. */
#define LIMIT_PROVIDERS 32
/* A provider's definition: 100 models, a map of 100, each name of 128 bytes, and a key. */
#define LIMIT_PROVIDER_BODY (64u << 10)
/* ARP_WORKFLOWS_PER_USER at most: they are listed in one answer, without their steps. */
#define LIMIT_WORKFLOWS 1024
/* An idle container expires after a year at the latest, or never. */
#define LIMIT_IDLE_EXPIRY_SECONDS (365ll * 86400)
/* Agents that one request may name containers for. */
#define LIMIT_OVERRIDES 32
/* Steps of one workflow; which ones a step needs is a set of 64 bits. */
#define LIMIT_WORKFLOW_STEPS 64
#define LIMIT_STEP_KEY       64
/* What a workflow is for, in a few sentences. */
#define LIMIT_WORKFLOW_DESCRIPTION 1024
/* A workflow's definition: two full prompts, or 4 KiB for each of 64 steps. A version is kept for good and is read as each run starts. */
#define LIMIT_WORKFLOW_SPEC (256u << 10)
/* Names of users, projects, keys, containers, agents. */
#define LIMIT_NAME 128
/* Rows of one listing page. */
#define LIMIT_PAGE 200

#endif
