/*
 * What a run left, as a tester reads it: its event stream, its JSON Lines files, its unzipped bundle, and what the real arpctl says of
 * the bundle. Parsed with plain cJSON, chains recomputed with plain libcrypto: nothing of the code under test judges here.
 */
#ifndef ARP_TESTS_SUPPORT_RECORD_H
#define ARP_TESTS_SUPPORT_RECORD_H

#include "tests/support/stack.h"

/* A JSON Lines file. */
struct jsonl {
    char *text;  /* the bytes, each LF replaced by NUL */
    size_t n;    /* lines */
    char **line; /* into text */
    cJSON **obj; /* each line parsed, NULL where it is not a JSON object */
};
/* Split and parse; text is taken over. false: the last line has no LF, or a line is no JSON object. */
bool jsonl_parse(char *text, struct jsonl *ret);
bool jsonl_read(const char *dir, const char *name, struct jsonl *ret);
void jsonl_done(struct jsonl *l);
/* The nth (from 0) object whose "type" is type; NULL when there are fewer. */
const cJSON *jsonl_find(const struct jsonl *l, const char *type, size_t nth);
/* Lines that are not of that type. */
size_t jsonl_count_but(const struct jsonl *l, const char *type);
/* True when seq counts from 0 and every prev is the SHA-256 of the line before (of the genesis text for the first). */
bool jsonl_chain_ok(const struct jsonl *l, const char *run_id, const char *file);

/* Lower-case hex SHA-256; ret holds 65 bytes. */
void hex_sha256(const void *bytes, size_t len, char *ret);
/* Bytes of a file with their length (free()); NULL when it can't be read. */
char *read_bytes(const char *dir, const char *name, size_t *ret_len);
/* A member as a string / a number by path; NULL / -1. */
const char *str_at(const cJSON *root, const char *path);
double num_at(const cJSON *root, const char *path);

/* POST a whole JSON body to /projects/:id/message. Returns the status. */
long run_post(const struct stack *s, const struct tenant *t, const char *body, struct reply *ret);
/* The same without waiting (Prefer: respond-async); the run's id goes to ret_id[40]. */
bool run_begin(const struct stack *s, const struct tenant *t, const char *body, char *ret_id);
/* Wait until the run has shown an event of that type; false when 60 s went by. */
bool run_wait_event(const struct stack *s, const struct tenant *t, const char *run_id, const char *type);

/* Wait until one line of the server's log holds both texts; false when 30 s went by. */
bool log_wait(const struct stack *s, const char *a, const char *b);

/* A streamed run, to the end of the stream. */
struct stream {
    char run_id[40];
    struct reply reply;
    struct sse_event *events;
    size_t n;
};
/* POST body to /projects/:id/message/stream. Returns the status. */
long stream_run(const struct stack *s, const struct tenant *t, const char *body, struct stream *ret);
void stream_done(struct stream *st);
/* The data lines, each with LF, as events.jsonl holds them (free()). */
char *stream_lines(const struct stream *st);

/* A run's bundle: fetched when it is ready, unzipped, parsed. */
struct record {
    char run_id[40];
    char zip[192];
    char dir[192]; /* <somewhere>/<runId> */
    struct jsonl events;
    struct jsonl commands;
    struct jsonl processes;
    cJSON *outputs; /* NULL when the file is empty */
    cJSON *metadata;
    cJSON *snapshot;
};
/* false (reason on standard error): no bundle within 30 s, or its files are not what they should be. */
bool record_open(const struct stack *s, const struct tenant *t, const char *run_id, struct record *ret);
void record_done(struct record *r);
/* Run one shell script to its success and open its bundle, which arpctl must accept. false: the reason on standard error. */
bool record_script(const struct stack *s, const struct tenant *t, const char *script, struct record *ret);
/* Of a clock that only goes forward. */
double seconds(void);

/* on: from now on new evidence rows look claimed by a builder elsewhere, so they stay pending until their claim is taken away. */
bool evidence_hold(bool on);

/* The server's published keys in a file. The string lives until the next call. NULL on failure. */
const char *keyring_file(const struct stack *s);
/* Run the real `arpctl verify --json`; keyring NULL: without one. Returns its exit code; *ret (NULL: not wanted; cJSON_Delete) is what
 * it printed. */
int arpctl_verify(const char *zip, const char *keyring, cJSON **ret);
/* True when the bundle is what a run leaves that its agent did not close: intact, sealed by this server, signed as not closed and not
 * complete (exit 3), and its chain ends with the server's own RunCompleted of that reason. */
bool record_is_unclosed(const struct stack *s, const struct record *r, const char *reason);

#endif
