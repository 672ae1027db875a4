/*
 * OCI profile: a seccomp profile as a caller writes it, parsed into rules and checked, without libseccomp, so that the orchestrator
 * refuses a profile when it is registered for the very reasons the agent would. Format: the "seccomp" object of the OCI runtime
 * specification (config-linux.md, 1.1) and the dialect of Docker's --security-opt seccomp=FILE: "archMap", "name", "comment", and
 * "includes"/"excludes", which are decided here for what a command has: no capability, the native architecture, Linux 5.19 or newer.
 * Everything else is refused by name. Limits: shared/limits.h. Pure; an object belongs to one thread.
 */
#ifndef ARP_SHARED_OCI_PROFILE_H
#define ARP_SHARED_OCI_PROFILE_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"
#include "shared/hash.h"

/* From the mildest to the strictest. NOTIFY and TRACE are refused: the listener is the agent's. */
enum oci_action { OCI_ALLOW, OCI_LOG, OCI_ERRNO, OCI_TRAP, OCI_KILL_THREAD, OCI_KILL_PROCESS };
enum oci_op { OCI_NE, OCI_LT, OCI_LE, OCI_EQ, OCI_GE, OCI_GT, OCI_MASKED_EQ };

/* A call has six arguments, and one rule may look at each once. */
#define OCI_CONDITIONS_MAX 6

struct oci_condition {
    unsigned index; /* 0 to 5 */
    enum oci_op op;
    uint64_t value;     /* MASKED_EQ: the mask */
    uint64_t value_two; /* MASKED_EQ: what the masked argument must be */
};

struct oci_rule {
    enum oci_action action;
    unsigned sys_errno; /* OCI_ERRNO: 1 to 4095; else 0 */
    char **names;
    size_t name_count; /* at least 1 */
    struct oci_condition conditions[OCI_CONDITIONS_MAX];
    size_t condition_count; /* all must hold */
};

struct oci_profile {
    enum oci_action default_action;
    unsigned default_errno;
    struct oci_rule *rules; /* those that apply here, in the order given */
    size_t rule_count;
};

/* Parse and check obj. path: the field's name in errors. A profile that would keep every program from starting is refused, too, with
 * the call and the reason. Errors: ARP_E_UNKNOWN_FIELD, ARP_E_FIELD (both with details.field), ARP_E_NOMEM. */
int oci_profile_parse(const cJSON *obj, const char *path, struct oci_profile **ret, struct arp_err *err);
/* Append the canonical text: plain OCI, no dialect, no white space, one form per meaning and order of rules. It parses to the same
 * rules; its SHA-256 is the profile's identity. Errors: those of out. */
int oci_profile_write(const struct oci_profile *p, struct buf *out, struct arp_err *err);
/* Parse, check and write in one: *ret_text (free()) is the canonical text, ret_sha256 its digest. Errors: as oci_profile_parse; ARP_E_FIELD
 * when the text is over LIMIT_SECCOMP_BYTES. */
int oci_profile_canonical(const cJSON *obj, const char *path, char **ret_text,
    char ret_sha256[SHA256_HEX_LEN + 1], struct arp_err *err);
void oci_profile_free(struct oci_profile *p);

static inline void oci_profile_free_ptr(struct oci_profile **p)
{
    oci_profile_free(*p);
}
#define cleanup_oci_profile __attribute__((cleanup(oci_profile_free_ptr)))

#endif
