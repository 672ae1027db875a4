/*
 * Process log: see proclog.h.
 */
#include "agent/proclog.h"

#include <unistd.h>

#include "shared/fd.h"
#include "shared/json.h"
#include "shared/limits.h"

/* Lines that wait at most. */
#define BATCH_BYTES (256u << 10)

int proclog_open(struct proclog *log, const struct evdir *dir, const char *run_id, struct arp_err *err)
{
    *log = (struct proclog){.fd = evdir_create_file(dir, "processes.jsonl", err)};
    if (log->fd < 0)
        return log->fd;
    buf_init(&log->line, LIMIT_LINE + 1);
    buf_init(&log->batch, BATCH_BYTES + LIMIT_LINE + 1);
    chain_init(&log->chain, run_id, "processes.jsonl");
    return 0;
}

void proclog_close(struct proclog *log)
{
    if (log->fd > 0)
        close(log->fd);
    buf_done(&log->line);
    buf_done(&log->batch);
    log->fd = -1;
}

int proclog_append(
    struct proclog *log, const struct process_record *r, bool *ret_written, struct arp_err *err)
{
    struct json j;
    *ret_written = false;
    if (log->full)
        return 0;
    buf_reset(&log->line);
    json_init(&j, &log->line);
    json_obj_open(&j);
    json_kstr(&j, "ts", r->at);
    json_kstr(&j, "type", r->is_exit ? "exit" : "exec");
    process_record_put(&j, r);
    chain_stamp(&log->chain, &j);
    json_obj_close(&j);
    size_t len = log->line.len;
    buf_append_char(&log->line, '\n');
    int rc = buf_error(&log->line, err);
    if (rc == 0 && log->bytes + log->line.len > LIMIT_PROCESS_BYTES) {
        log->full = true;
        return 0;
    }
    if (rc == 0 && buf_append(&log->batch, log->line.data, log->line.len) != 0)
        rc = buf_error(&log->batch, err);
    if (rc) {
        log->full = true; /* the recorder numbers lines: behind one that is missing nothing may follow */
        return arp_wrap(err, "process log");
    }
    log->bytes += log->line.len;
    chain_advance(&log->chain, log->line.data, len);
    *ret_written = true;
    return log->batch.len < BATCH_BYTES ? 0 : proclog_flush(log, err);
}

int proclog_flush(struct proclog *log, struct arp_err *err)
{
    int rc = fd_write_all(log->fd, buf_str(&log->batch), log->batch.len, err);
    buf_reset(&log->batch);
    if (rc == 0)
        return 0;
    log->full = true; /* behind half a line nothing may follow */
    return arp_wrap(err, "process log");
}

int proclog_digest(const struct proclog *log, char ret_hex[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    return sha256_fd(log->fd, ret_hex, NULL, err);
}
