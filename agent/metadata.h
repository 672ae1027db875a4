/*
 * Metadata: what GET /metadata answers: the image (system, libc, tools and their versions), the kernel's sandbox features, the
 * agent itself. Tools are run once, at start, as commands are: uid 1000, seccomp, time limit; their output is hostile text.
 * metadata_collect runs on its own thread; the result is immutable once metadata_text returns it.
 */
#ifndef ARP_AGENT_METADATA_H
#define ARP_AGENT_METADATA_H

#include <stdbool.h>

#include "agent/box.h"
#include "agent/cmdenv.h"
#include "agent/engine.h"
#include "agent/reaper.h"
#include "shared/buf.h"
#include "shared/err.h"
#include "shared/hash.h"

/* One "tool --version". A cold JVM needs half of it. */
#define METADATA_TOOL_TIMEOUT_MS 2000

struct agent_info {
    char sha256[SHA256_HEX_LEN + 1]; /* of the running binary; "" when it can't be read */
    char image_name[512];            /* ARP_IMAGE_NAME, "" when not given */
    char image_digest[128];
    char cap_eff[20];      /* of /proc/self/status, as the kernel prints it */
    int container_seccomp; /* mode the container runtime set: 0 none, 2 filter */
    bool container_nnp;
    int landlock_abi; /* 0 without */
};

/* Facts about this process. Never fails: what can't be read stays empty. */
void agent_info_init(struct agent_info *info);

struct metadata_spec {
    struct reaper *reaper;
    const struct cmdenv *env;
    struct box *box;
    const struct agent_info *info;
    struct engine_info *engines; /* ENGINES; those that have a program are asked for their version */
    int cwd_fd;
};
/* Append the JSON object. Errors: ARP_E_NOMEM, ARP_E_TOO_LARGE (LIMIT_METADATA). */
int metadata_collect(const struct metadata_spec *spec, struct buf *out, struct arp_err *err);

#endif
