/*
 * What a run left: see record.h.
 */
#include "tests/support/record.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shared/buf.h"
#include "shared/fd.h"
#include "tests/support/pg.h"

#define FILE_MAX   (1u << 30)
#define EVENTS_MAX 20000

void hex_sha256(const void *bytes, size_t len, char *ret)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_Digest(bytes, len, digest, &n, EVP_sha256(), NULL);
    for (unsigned i = 0; i < n; i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

char *read_bytes(const char *dir, const char *name, size_t *ret_len)
{
    char path[512];
    struct buf b;
    struct arp_err err;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    buf_init(&b, FILE_MAX);
    if (file_read(path, &b, &err) != 0) {
        fprintf(stderr, "%s\n", err.msg);
        buf_done(&b);
        return NULL;
    }
    *ret_len = b.len;
    return b.data ? buf_steal(&b) : strdup("");
}

const char *str_at(const cJSON *root, const char *path)
{
    return cJSON_GetStringValue(json_at(root, path));
}

double num_at(const cJSON *root, const char *path)
{
    const cJSON *v = json_at(root, path);
    return cJSON_IsNumber(v) ? v->valuedouble : -1;
}

/* --- JSON Lines -------------------------------------------------------------------------------------------------------------- */

bool jsonl_parse(char *text, struct jsonl *ret)
{
    size_t lines = 0;
    *ret = (struct jsonl){.text = text};
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    ret->line = calloc(lines + 1, sizeof(*ret->line));
    ret->obj = calloc(lines + 1, sizeof(*ret->obj));
    bool ok = true;
    char *line = text;
    for (char *lf; (lf = strchr(line, '\n')) != NULL; line = lf + 1, ret->n++) {
        *lf = '\0';
        ret->line[ret->n] = line;
        ret->obj[ret->n] = cJSON_Parse(line);
        ok = ok && cJSON_IsObject(ret->obj[ret->n]);
    }
    return ok && *line == '\0';
}

bool jsonl_read(const char *dir, const char *name, struct jsonl *ret)
{
    char *text = read_text(dir, name);
    *ret = (struct jsonl){0};
    return text && jsonl_parse(text, ret);
}

void jsonl_done(struct jsonl *l)
{
    for (size_t i = 0; i < l->n; i++)
        cJSON_Delete(l->obj[i]);
    free(l->obj);
    free(l->line);
    free(l->text);
    *l = (struct jsonl){0};
}

const cJSON *jsonl_find(const struct jsonl *l, const char *type, size_t nth)
{
    for (size_t i = 0; i < l->n; i++) {
        const char *is = str_at(l->obj[i], "type");
        if (is && strcmp(is, type) == 0 && nth-- == 0)
            return l->obj[i];
    }
    return NULL;
}

size_t jsonl_count_but(const struct jsonl *l, const char *type)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        const char *is = str_at(l->obj[i], "type");
        n += !is || strcmp(is, type) != 0;
    }
    return n;
}

bool jsonl_chain_ok(const struct jsonl *l, const char *run_id, const char *file)
{
    char text[256];
    char prev[65];
    int n = snprintf(text, sizeof(text), "arp-chain-v1\n%s\n%s\n", run_id, file);
    hex_sha256(text, (size_t)n, prev);
    for (size_t i = 0; i < l->n; i++) {
        const char *says = str_at(l->obj[i], "prev");
        if (num_at(l->obj[i], "seq") != (double)i || !says || strcmp(says, prev) != 0) {
            fprintf(stderr, "%s line %zu: seq or prev is wrong (prev should be %s): %.200s\n", file, i, prev,
                l->line[i]);
            return false;
        }
        hex_sha256(l->line[i], strlen(l->line[i]), prev);
    }
    return true;
}

/* --- runs -------------------------------------------------------------------------------------------------------------------- */

long run_post(const struct stack *s, const struct tenant *t, const char *body, struct reply *ret)
{
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s/message", t->project_id);
    return stack_call(s, t->key, "POST", path, body, ret);
}

bool run_begin(const struct stack *s, const struct tenant *t, const char *body, char *ret_id)
{
    char url[256];
    struct reply r = {0};
    static const char *const headers[] = {"Prefer: respond-async", NULL};
    snprintf(url, sizeof(url), "%s/projects/%s/message", stack_url(s), t->project_id);
    struct call c = {.method = "POST", .url = url, .key = t->key, .body = body, .headers = headers};
    bool ok = client_call(&c, &r) == 202 && reply_str(&r, "runId");
    if (ok)
        snprintf(ret_id, 40, "%s", reply_str(&r, "runId"));
    else
        fprintf(stderr, "POST message: %ld %s\n", r.status, r.body);
    reply_done(&r);
    return ok;
}

bool run_wait_event(const struct stack *s, const struct tenant *t, const char *run_id, const char *type)
{
    char path[128];
    char want[64];
    struct reply r = {0};
    bool seen = false;
    snprintf(path, sizeof(path), "/runs/%s/events", run_id);
    snprintf(want, sizeof(want), "\"type\":\"%s\"", type);
    for (int i = 0; i < 60 * 20 && !seen; i++) {
        seen = stack_call(s, t->key, "GET", path, NULL, &r) == 200 && strstr(r.body, want);
        if (!seen)
            nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    if (!seen)
        fprintf(stderr, "no %s in the events of run %s: %ld %s\n", type, run_id, r.status, r.body);
    reply_done(&r);
    return seen;
}

/* One line of text that holds both. */
static bool has_line(char *text, const char *a, const char *b)
{
    bool found = false;
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line && !found;
         line = strtok_r(NULL, "\n", &save))
        found = strstr(line, a) && strstr(line, b);
    return found;
}

bool log_wait(const struct stack *s, const char *a, const char *b)
{
    bool found = false;
    for (int i = 0; i < 30 * 10 && !found; i++) {
        char *log = stack_log(s);
        found = log && has_line(log, a, b);
        free(log);
        if (!found)
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    if (!found)
        fprintf(stderr, "no line of the log has '%s' and '%s'\n", a, b);
    return found;
}

long stream_run(const struct stack *s, const struct tenant *t, const char *body, struct stream *ret)
{
    char path[128];
    *ret = (struct stream){0};
    snprintf(path, sizeof(path), "/projects/%s/message/stream", t->project_id);
    long status = stack_call(s, t->key, "POST", path, body, &ret->reply);
    const char *id = strcasestr(ret->reply.headers, "x-run-id: ");
    if (id)
        snprintf(ret->run_id, sizeof(ret->run_id), "%.36s", id + strlen("x-run-id: "));
    ret->events = calloc(EVENTS_MAX, sizeof(*ret->events));
    ret->n = sse_parse(ret->reply.body, ret->events, EVENTS_MAX);
    return status;
}

void stream_done(struct stream *st)
{
    reply_done(&st->reply);
    free(st->events);
    *st = (struct stream){0};
}

char *stream_lines(const struct stream *st)
{
    struct buf b;
    buf_init(&b, FILE_MAX);
    for (size_t i = 0; i < st->n; i++) {
        buf_append_str(&b, st->events[i].data);
        buf_append_char(&b, '\n');
    }
    return b.data ? buf_steal(&b) : strdup("");
}

/* --- bundles ----------------------------------------------------------------------------------------------------------------- */

static cJSON *read_json(const char *dir, const char *name)
{
    char *text = read_text(dir, name);
    cJSON *v = text ? cJSON_Parse(text) : NULL;
    free(text);
    return v;
}

bool record_open(const struct stack *s, const struct tenant *t, const char *run_id, struct record *ret)
{
    *ret = (struct record){0};
    const char *dir = stack_unzip_evidence(s, t, run_id);
    if (!dir)
        return false;
    snprintf(ret->run_id, sizeof(ret->run_id), "%s", run_id);
    snprintf(ret->dir, sizeof(ret->dir), "%s", dir);
    snprintf(ret->zip, sizeof(ret->zip), "%.*s/bundle.zip", (int)(strlen(dir) - strlen(run_id) - 1), dir);
    bool ok = jsonl_read(dir, "events.jsonl", &ret->events);
    ok = jsonl_read(dir, "command_log.jsonl", &ret->commands) && ok;
    ok = jsonl_read(dir, "processes.jsonl", &ret->processes) && ok;
    ret->outputs = read_json(dir, "outputs.json");
    ret->metadata = read_json(dir, "metadata.json");
    ret->snapshot = read_json(dir, "env_snapshot.json");
    if (!ok || !ret->metadata || !ret->snapshot)
        fprintf(stderr, "a file of the bundle of %s is not what it should be\n", run_id);
    return ok && ret->metadata && ret->snapshot;
}

void record_done(struct record *r)
{
    jsonl_done(&r->events);
    jsonl_done(&r->commands);
    jsonl_done(&r->processes);
    cJSON_Delete(r->outputs);
    cJSON_Delete(r->metadata);
    cJSON_Delete(r->snapshot);
    *r = (struct record){0};
}

bool evidence_hold(bool on)
{
    if (!on)
        return pg_sql("DROP TRIGGER test_hold ON evidence_bundles") != NULL;
    return pg_sql("CREATE OR REPLACE FUNCTION test_hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                  "NEW.claim_holder := 'test';"
                  " NEW.claim_expires_at := now() + interval '1 hour'; RETURN NEW; END $$") != NULL &&
           pg_sql("CREATE TRIGGER test_hold BEFORE INSERT ON evidence_bundles FOR EACH ROW EXECUTE FUNCTION "
                  "test_hold()") != NULL;
}

const char *keyring_file(const struct stack *s)
{
    static char path[96];
    struct reply r = {0};
    snprintf(path, sizeof(path), "%s/arp-keys.json", temp_dir());
    bool ok = stack_call(s, NULL, "GET", "/.well-known/arp-keys.json", NULL, &r) == 200;
    FILE *f = ok ? fopen(path, "w") : NULL;
    ok = f && fwrite(r.body, 1, r.len, f) == r.len;
    if (f)
        fclose(f);
    reply_done(&r);
    return ok ? path : NULL;
}

/* The first check that did not pass. */
static void print_complaint(const cJSON *said)
{
    const cJSON *c;
    cJSON_ArrayForEach(c, json_at(said, "checks"))
    {
        if (strcmp(str_at(c, "verdict"), "PASS") != 0) {
            fprintf(stderr, "%s %s: %s\n", str_at(c, "verdict"), str_at(c, "check"), str_at(c, "reason"));
            return;
        }
    }
}

int arpctl_verify(const char *zip, const char *keyring, cJSON **ret)
{
    char *out = NULL;
    const char *program = program_path("arpctl");
    int code = keyring ? RUN_ARGV(NULL, &out, program, "verify", "--json", "--keyring", keyring, zip)
                       : RUN_ARGV(NULL, &out, program, "verify", "--json", zip);
    cJSON *said = cJSON_Parse(out);
    if (!said)
        fprintf(stderr, "arpctl verify: exit %d: %s\n", code, out);
    print_complaint(said);
    free(out);
    if (ret)
        *ret = said;
    else
        cJSON_Delete(said);
    return code;
}

bool record_is_unclosed(const struct stack *s, const struct record *r, const char *reason)
{
    cJSON *said = NULL;
    const cJSON *last = r->events.n > 0 ? r->events.obj[r->events.n - 1] : NULL;
    const char *type = str_at(last, "type");
    const char *by = str_at(last, "closedBy");
    const char *why = str_at(last, "reason");
    const char *keyring = keyring_file(s);
    bool ok = keyring && arpctl_verify(r->zip, keyring, &said) == 3;
    ok = ok && strcmp(str_at(said, "integrity"), "VERIFIED") == 0 &&
         strcmp(str_at(said, "authenticity"), "UNTRUSTED") != 0;
    ok = ok && cJSON_IsFalse(json_at(said, "closed")) && cJSON_IsFalse(json_at(said, "complete"));
    ok = ok && cJSON_IsFalse(json_at(r->metadata, "closed")) &&
         cJSON_IsFalse(json_at(r->snapshot, "complete"));
    ok = ok && jsonl_chain_ok(&r->events, r->run_id, "events.jsonl");
    ok = ok && type && strcmp(type, "RunCompleted") == 0 && by && strcmp(by, "orchestrator") == 0;
    ok = ok && why && strcmp(why, reason) == 0;
    if (!ok) {
        char *text = cJSON_Print(said);
        fprintf(stderr, "not the bundle of an unclosed run (reason %s): last line %s\n%s\n", reason,
            r->events.n > 0 ? r->events.line[r->events.n - 1] : "missing", text ? text : "");
        free(text);
    }
    cJSON_Delete(said);
    return ok;
}

bool record_script(const struct stack *s, const struct tenant *t, const char *script, struct record *ret)
{
    struct reply r = {0};
    cJSON *text = cJSON_CreateString(script);
    char *commands = cJSON_PrintUnformatted(text);
    bool ok = stack_run(s, t, commands, &r) == 200 && reply_str(&r, "status") &&
              strcmp(reply_str(&r, "status"), "succeeded") == 0;
    if (!ok)
        fprintf(stderr, "script: %s\n", r.body ? r.body : "no answer");
    ok = ok && record_open(s, t, reply_str(&r, "runId"), ret);
    if (ok && arpctl_verify(ret->zip, keyring_file(s), NULL) != 0) {
        record_done(ret);
        ok = false;
    }
    reply_done(&r);
    free(commands);
    cJSON_Delete(text);
    return ok;
}

double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
