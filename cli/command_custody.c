/*
 * arpctl custody: fetch a run's chain of custody with its proofs, to keep and to verify offline.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/commands.h"
#include "shared/buf.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/uuid.h"

/* Of one answer: the server's own maximum. */
#define PAGE_MAX (64u << 20)

static int on_bytes(void *ctx, const char *bytes, size_t len, struct arp_err *err)
{
    buf_append(ctx, bytes, len);
    return buf_error(ctx, err);
}

/* Append the items of an array member of page to that of all, but those that are its last item already (a day may span two pages). */
static void move_items(cJSON *all, cJSON *page, const char *name)
{
    cJSON *from = cJSON_GetObjectItemCaseSensitive(page, name);
    cJSON *to = cJSON_GetObjectItemCaseSensitive(all, name);
    while (cJSON_IsArray(from) && cJSON_IsArray(to) && from->child) {
        cJSON *item = cJSON_DetachItemFromArray(from, 0);
        const cJSON *last = to->child ? to->child->prev : NULL; /* the first item's prev is the last */
        if (cJSON_IsObject(item) && last && cJSON_Compare(last, item, 1))
            cJSON_Delete(item);
        else
            cJSON_AddItemToArray(to, item);
    }
}

static int fetch_page(struct api *api, const char *run_id, int64_t after, cJSON **ret, struct arp_err *err)
{
    char path[96];
    long status;
    cleanup_buf struct buf body;
    buf_init(&body, PAGE_MAX);
    snprintf(path, sizeof(path), "/runs/%s/custody?after=%lld", run_id, (long long)after);
    struct api_request rq = {.method = "GET", .path = path, .sink = on_bytes, .ctx = &body};
    int rc = api_call(api, &rq, &status, err);
    return rc ? rc : json_parse(buf_str(&body), body.len, ret, err);
}

/* All pages as one document. */
static int fetch_all(struct api *api, const char *run_id, cJSON **ret, struct arp_err *err)
{
    cleanup_cjson cJSON *all = NULL;
    int64_t after = -1;
    for (bool more = true; more;) {
        cleanup_cjson cJSON *page = NULL;
        int rc = fetch_page(api, run_id, after, &page, err);
        if (rc)
            return rc;
        int64_t next = json_get_int(page, "nextAfter", -1);
        more = next > after;
        after = next;
        cJSON_DeleteItemFromObjectCaseSensitive(page, "nextAfter");
        if (!all) {
            all = page;
            page = NULL;
            continue;
        }
        move_items(all, page, "lines");
        move_items(all, page, "proofs");
        move_items(all, page, "days");
    }
    *ret = all;
    all = NULL;
    return 0;
}

static int write_out(const cJSON *doc, const char *file, struct arp_err *err)
{
    cleanup_free char *text = cJSON_PrintUnformatted(doc);
    cleanup_buf struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    if (!text)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for the answer");
    buf_append_str(&out, text);
    buf_append_char(&out, '\n');
    int rc = buf_error(&out, err);
    if (rc || !file)
        return rc ? rc : fd_write_all(STDOUT_FILENO, out.data, out.len, err);
    cleanup_fd int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd < 0 ? arp_fail(err, ARP_E_IO, errno, "write '%s'", file)
                  : fd_write_all(fd, out.data, out.len, err);
}

int command_custody(int argc, const char **argv)
{
    char *output = NULL;
    const struct poptOption table[] = {
        {"output", 'o', POPT_ARG_STRING, &output, 0, "where to write it (default: standard output)", "FILE"},
        POPT_AUTOHELP POPT_TABLEEND,
    };
    poptContext pc = command_options(argc, argv, table, "custody [-o FILE] RUN");
    if (!pc)
        return EXIT_TROUBLE;
    const char *run_id = poptGetArg(pc);
    struct arp_err err = {0};
    cleanup_api struct api *api = NULL;
    cleanup_cjson cJSON *doc = NULL;
    int rc = 0;
    if (!run_id || !uuid_ok(run_id) || poptPeekArg(pc))
        rc = arp_fail(&err, ARP_E_INVALID, 0, "custody: give one run id");
    if (!rc)
        rc = command_api(&api, &err);
    if (!rc)
        rc = fetch_all(api, run_id, &doc, &err);
    if (!rc)
        rc = write_out(doc, output, &err);
    poptFreeContext(pc);
    free(output);
    return rc ? command_trouble(&err) : 0;
}
