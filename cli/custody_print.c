/*
 * How a check of custody is told: see custody.h. Reasons may quote a hostile file, so what could steer a terminal is shown as '?'.
 */
#include "cli/clean.h"
#include "cli/custody.h"
#include "shared/json.h"

static const char *const verdict_names[] = {
    [CHECK_PASS] = "PASS", [CHECK_UNABLE] = "UNABLE", [CHECK_FAIL] = "FAIL"};

static const char *const fate_names[] = {[CUSTODY_NOT_MADE] = "NOT MADE",
    [CUSTODY_HERE] = "HERE",
    [CUSTODY_PURGED] = "DELETED BY POLICY",
    [CUSTODY_LOST] = "LOST",
    [CUSTODY_VANISHED] = "VANISHED"};

void custody_print(const struct custody_report *r, FILE *out)
{
    for (size_t i = 0; i < r->count; i++) {
        fprintf(out, "%-6s %-17s ", verdict_names[r->checks[i].verdict], r->checks[i].name);
        put_clean(r->checks[i].reason, false, out);
        putc('\n', out);
    }
    if (r->exit_code == VERIFY_UNUSABLE) {
        fprintf(out, "not a custody file that can be read\n");
        return;
    }
    fprintf(out, "run:          %s\n", r->run_id);
    fprintf(out, "evidence:     %s", fate_names[r->fate]);
    if (r->fate == CUSTODY_PURGED) {
        fputs(" ", out);
        put_clean(r->policy, false, out);
        fputs(" at ", out);
        put_clean(r->purged_at, false, out);
    }
    fprintf(out, "\nmade:         %s%s\n", r->made_sha256[0] ? "sha256:" : "nothing", r->made_sha256);
    fprintf(out, "integrity:    %s\n", r->integrity ? "VERIFIED" : "FAILED");
    fprintf(out, "authenticity: %zu of %zu lines stand in days signed by a trusted key\n", r->lines_trusted,
        r->lines);
    fprintf(out, "not proven:   that nothing was done with the evidence beside the record\n");
}

void custody_print_json(const struct custody_report *r, FILE *out)
{
    cleanup_buf struct buf b;
    buf_init(&b, 64u << 10);
    struct json j;
    json_init(&j, &b);
    json_obj_open(&j);
    json_kint(&j, "exitCode", r->exit_code);
    json_kstr(&j, "runId", r->run_id[0] ? r->run_id : NULL);
    json_kstr(&j, "evidence", r->exit_code == VERIFY_UNUSABLE ? NULL : fate_names[r->fate]);
    json_kdigest(&j, "zipSha256", r->made_sha256);
    json_kstr(&j, "policy", r->fate == CUSTODY_PURGED ? r->policy : NULL);
    json_kstr(&j, "purgedAt", r->fate == CUSTODY_PURGED ? r->purged_at : NULL);
    json_kstr(&j, "integrity", r->integrity ? "VERIFIED" : "FAILED");
    json_kuint(&j, "lines", r->lines);
    json_kuint(&j, "linesTrusted", r->lines_trusted);
    json_key(&j, "checks");
    json_arr_open(&j);
    for (size_t i = 0; i < r->count; i++) {
        json_obj_open(&j);
        json_kstr(&j, "check", r->checks[i].name);
        json_kstr(&j, "verdict", verdict_names[r->checks[i].verdict]);
        json_kstr(&j, "reason", r->checks[i].reason);
        json_obj_close(&j);
    }
    json_arr_close(&j);
    json_obj_close(&j);
    fprintf(out, "%s\n", buf_str(&b));
}
