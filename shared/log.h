/*
 * Structured logs: one JSON object per line on standard error. Every line has ts, level, msg, userId, projectId, workspaceId and
 * runId (null where the work has none). Prompts, keys and outputs are never logged. Thread-safe: one write(2) per line.
 * Only main, route and job code logs; library code returns errors (style.md section 4).
 */
#ifndef ARP_SHARED_LOG_H
#define ARP_SHARED_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/err.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* Who the work is for. Empty strings are printed as null. Copied around by value. */
struct log_ctx {
    char user_id[37];
    char project_id[37];
    char workspace_id[37];
    char run_id[37];
};

struct log_field {
    const char *key; /* NULL ends the list */
    const char *str; /* NULL is printed as null */
    int64_t num;
    bool is_num;
};
#define LOG_STR(k, v)                                                                                        \
    {                                                                                                        \
        (k), (v), 0, false                                                                                   \
    }
#define LOG_INT(k, v)                                                                                        \
    {                                                                                                        \
        (k), NULL, (int64_t)(v), true                                                                        \
    }

/* Lines under level are dropped. Call once at start, before threads. */
void log_set_level(enum log_level level);
/* "debug", "info", "warn", "error". Errors: ARP_E_INVALID. */
int log_level_parse(const char *name, enum log_level *ret, struct arp_err *err);
/* Write a line. ctx may be NULL; fields: array ended by a NULL key, or NULL. */
void log_write(
    enum log_level level, const struct log_ctx *ctx, const char *msg, const struct log_field *fields);
/* The same with err's public code, message and errno as fields. */
void log_error(enum log_level level, const struct log_ctx *ctx, const char *msg, const struct arp_err *err);

/* The first element only lets the list be empty. */
#define log_info(ctx, msg, ...)                                                                              \
    log_write(LOG_LEVEL_INFO, (ctx), (msg),                                                                  \
        &(const struct log_field[]){{NULL, NULL, 0, false}, ##__VA_ARGS__, {NULL, NULL, 0, false}}[1])
#define log_warn(ctx, msg, ...)                                                                              \
    log_write(LOG_LEVEL_WARN, (ctx), (msg),                                                                  \
        &(const struct log_field[]){{NULL, NULL, 0, false}, ##__VA_ARGS__, {NULL, NULL, 0, false}}[1])

#endif
