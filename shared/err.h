/*
 * Errors: one fixed-size, caller-owned object and the one table of every error kind.
 * Reporting an error never allocates. A function that can fail returns 0 or a negative `enum arp_code` and takes
 * `struct arp_err *err` last; err may be NULL where the caller only needs the code. Not shared between threads.
 * The table gives each kind its public code, HTTP status and public text (design.md 4.1); docs/ERRORS.md is checked
 * against it by tests/unit/shared/err_test.c.
 */
#ifndef ARP_SHARED_ERR_H
#define ARP_SHARED_ERR_H

#include <stddef.h>
#include <stdint.h>

/* X(enum, HTTP status, public code, public text).  Kinds that are our own fault answer 500 and never show err->msg. */
#define ARP_ERRORS(X)                                                                                        \
    X(ARP_E_INTERNAL, 500, "internal", "internal error")                                                     \
    X(ARP_E_NOMEM, 500, "out_of_memory", "out of memory")                                                    \
    X(ARP_E_IO, 500, "io_error", "an input or output operation failed")                                      \
    X(ARP_E_CORRUPT, 500, "corrupt_data", "stored data is damaged")                                          \
    X(ARP_E_UNSUPPORTED, 500, "unsupported", "a required feature is missing on this machine")                \
    X(ARP_E_EVIDENCE, 500, "evidence_error", "the evidence bundle could not be built")                       \
    X(ARP_E_INVALID, 400, "invalid_request", "the request is malformed")                                     \
    X(ARP_E_JSON, 400, "invalid_json", "the body is not valid JSON")                                         \
    X(ARP_E_UTF8, 400, "invalid_utf8", "the text is not valid UTF-8")                                        \
    X(ARP_E_UNKNOWN_FIELD, 400, "unknown_field", "the request has a field that is not known")                \
    X(ARP_E_FIELD, 400, "invalid_field", "a field has a wrong type or value")                                \
    X(ARP_E_OVERRIDE, 400, "invalid_container_override", "a container override is not valid")                \
    X(ARP_E_CONTAINER, 400, "container_unresolved", "the agent's container can't be used")                   \
    X(ARP_E_PROVIDER, 400, "provider_unresolved", "no provider of models fits the run")                      \
    X(ARP_E_UNAUTHENTICATED, 401, "unauthenticated", "an API key is required")                               \
    X(ARP_E_FORBIDDEN, 403, "forbidden", "the API key lacks the scope for this")                             \
    X(ARP_E_NOT_FOUND, 404, "not_found", "no such resource")                                                 \
    X(ARP_E_METHOD, 405, "method_not_allowed", "the resource does not answer this method")                   \
    X(ARP_E_CONFLICT, 409, "conflict", "the resource is in a state that does not allow this")                \
    X(ARP_E_BUSY, 409, "workspace_busy", "the workspace has a run in progress")                              \
    X(ARP_E_GONE, 410, "gone", "the resource was deleted")                                                   \
    X(ARP_E_TOO_LARGE, 413, "too_large", "the request or value is over its limit")                           \
    X(ARP_E_QUOTA, 429, "quota_exceeded", "the daily run limit is used up")                                  \
    X(ARP_E_TIMEOUT, 504, "timeout", "the operation took too long")                                          \
    X(ARP_E_DATABASE, 503, "database_unavailable", "the database does not answer")                           \
    X(ARP_E_RUNTIME, 503, "runtime_unavailable", "the container runtime does not answer")                    \
    X(ARP_E_AGENT, 503, "agent_unavailable", "the workspace agent does not answer")                          \
    X(ARP_E_UNAVAILABLE, 503, "unavailable", "the server is shutting down or overloaded")

enum arp_code_index {
#define X(name, status, code, text) name##_INDEX,
    ARP_ERRORS(X)
#undef X
        ARP_E_COUNT
};

enum arp_code {
    ARP_OK = 0,
#define X(name, status, code, text) name = -(1 + (int)name##_INDEX),
    ARP_ERRORS(X)
#undef X
};

#define ARP_ERR_MSG_MAX    512
#define ARP_ERR_DETAIL_MAX 512

struct arp_err {
    int code;                  /* 0 or an enum arp_code */
    int sys_errno;             /* errno of the failed call, 0 if none */
    char msg[ARP_ERR_MSG_MAX]; /* for people; outermost context first */
    char detail
        [ARP_ERR_DETAIL_MAX]; /* members of a JSON object without braces, "" if none: "\"field\":\"name\"" */
};

/* Set *err (msg printf-formatted, cut at its size; ": strerror" appended when sys_errno != 0); clears details.
 * Returns code, so a failure is one line: return arp_fail(err, ARP_E_IO, errno, "open '%s'", path). */
int arp_fail(struct arp_err *err, int code, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Put "context: " before err->msg. Returns err->code (ARP_E_INTERNAL when err is NULL). */
int arp_wrap(struct arp_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Add one member to the error's details. Strings are JSON-escaped; a member that does not fit is left out whole. */
void arp_err_detail_str(struct arp_err *err, const char *key, const char *value);
void arp_err_detail_int(struct arp_err *err, const char *key, int64_t value);

/* ARP_E_FIELD with details {"field": field}: the one way to refuse a bad field by name. */
int arp_fail_field(struct arp_err *err, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Table look-ups; a code outside the table answers as ARP_E_INTERNAL. */
const char *arp_err_public_code(int code);
const char *arp_err_public_text(int code);
int arp_err_http_status(int code);

#endif
