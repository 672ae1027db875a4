/*
 * Evidence for tests: staging directories as a run leaves them, sealed bundles built from them by the real builder, and what an
 * attacker without the key can do with a bundle: take it apart, change it, put it together again with right digests.
 * Everything lives below one temporary directory. One thread. Functions abort the test on trouble of the machine.
 */
#ifndef ARP_TESTS_SUPPORT_EVIDENCE_FIXTURE_H
#define ARP_TESTS_SUPPORT_EVIDENCE_FIXTURE_H

#include <limits.h>

#include "orchestrator/bundle/bundle.h"
#include "orchestrator/bundle/entries.h"
#include "orchestrator/seal/signer.h"

#define FIXTURE_RUN_A "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define FIXTURE_RUN_B "7a2e3d4f-9b5c-4d6e-8f70-1b2c3d4e5f60"

enum fixture_kind {
    FIXTURE_FULL, /* three commands: text, binary output with NUL, 20 KiB on both streams and exit 3; thirteen process records: execs, scripts,
                     exits by code, by signal, unknown, a pid that comes again; a diff; artifacts */
    FIXTURE_EMPTY, /* no command, no change; in the server's own environment, the others in a tenant's container */
    FIXTURE_UNCLOSED, /* the agent was lost in the middle of the second command, two processes, one of the third command, recorded but not
                         streamed */
    FIXTURE_NO_CONTAINER, /* refused by the engine: no ToolContext, closed by the orchestrator */
    FIXTURE_MODEL, /* of the engine "codex", which lies: four model calls, the last a side call, policy full; three commands of the shim that end in another order
                      than they began, one asked for that never ran, one that nobody asked for, one failure told as a success; engine.jsonl */
    FIXTURE_DROPPED, /* one command with a shell, a script and their exits; 7 process records were over the limit */
};

/* The step of a workflow run that a run is. */
struct fixture_step {
    const char *workflow_run_id;
    int step;
    const char *key;
    const char *agent;
};

struct fixture {
    char root[64];    /* temporary directory */
    char out[80];     /* where bundles go */
    char keyring[96]; /* keys.json of the signer */
    struct signer *signer;
    const struct fixture_step *step; /* of the runs that are staged; NULL: runs of their own */
};

/* Make the directory and start a signer with a new key. */
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);

/* Write <root>/staging/<run_id> and fill *ret (strings: static or in f, valid until the next call). */
void fixture_stage(struct fixture *f, const char *run_id, enum fixture_kind kind, struct bundle_input *ret);
/* Stage and build; the path of the zip goes to ret. */
void fixture_build(struct fixture *f, const char *run_id, enum fixture_kind kind, char ret[PATH_MAX]);

/* Read all files of a bundle into memory, names below the top folder, in the order of the zip. */
void fixture_unpack(const char *zip, struct entries *ret);
/* Write them to a canonical zip at path (replaced), whatever their names are. */
void fixture_repack(const char *path, const char *top, struct entries *e);
/* Change the content of one file. */
void fixture_replace(struct entries *e, const char *name, const void *bytes, size_t len);
/* Take a file out. */
void fixture_drop(struct entries *e, const char *name);
/* Make manifest-sha256.txt and tagmanifest-sha256.txt and Payload-Oxum right again, as someone without the key can. */
void fixture_remake_manifests(struct entries *e);
/* Make seq and prev of every line of the log right again, as someone without the key can. */
void fixture_rechain(struct entries *e, const char *run_id, const char *log);

/* Line n of a file: from *at to *end (behind its LF). False when there is no such line. */
bool fixture_find_line(const struct entry *e, size_t n, size_t *at, size_t *end);
/* Take line n out / swap it with the one after it. False when there is none / no two. */
bool fixture_drop_line(struct entries *e, const char *name, size_t n);
bool fixture_swap_lines(struct entries *e, const char *name, size_t n);
/* Replace the first from in a file by to, and cover up all that can be: chain, manifests, Payload-Oxum. False when from is not there. */
bool fixture_edit(struct entries *e, const char *run_id, const char *file, const char *from, const char *to);

/* Write text to <root>/<name> and return the path (static, until the next call). */
const char *fixture_file(struct fixture *f, const char *name, const void *bytes, size_t len);

#endif
