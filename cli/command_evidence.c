/*
 * arpctl evidence and arpctl keys: fetch a run's bundle and the keys to check it with.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "shared/buf.h"
#include "shared/fd.h"
#include "shared/uuid.h"

static int on_bytes(void *ctx, const char *bytes, size_t len, struct arp_err *err)
{
    return fd_write_all(*(int *)ctx, bytes, len, err);
}

/* Fetch path into file by way of "<file>.part", so that file is whole or not there. A 202 is asked again each second, wait_s times. */
static int fetch(struct api *api, const char *path, const char *file, long wait_s, struct arp_err *err)
{
    cleanup_free char *part = NULL;
    if (asprintf(&part, "%s.part", file) < 0)
        return arp_fail(err, ARP_E_NOMEM, 0, "file name");
    cleanup_fd int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "write '%s'", part);
    struct api_request rq = {.method = "GET", .path = path, .sink = on_bytes, .ctx = &fd};
    long status = 202;
    int rc = 0;
    for (long waited = 0; !rc && status == 202; waited++) {
        if (waited > wait_s)
            rc = arp_fail(err, ARP_E_TIMEOUT, 0, "not ready after %ld s", wait_s);
        else if (waited > 0)
            nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
        if (!rc && (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0))
            rc = arp_fail(err, ARP_E_IO, errno, "write '%s'", part);
        if (!rc)
            rc = api_call(api, &rq, &status, err);
    }
    if (!rc && (fsync(fd) < 0 || rename(part, file) < 0))
        rc = arp_fail(err, ARP_E_IO, errno, "rename to '%s'", file);
    if (rc)
        unlink(part);
    return rc;
}

int command_evidence(int argc, const char **argv)
{
    char *output = NULL;
    long wait_s = 120;
    const struct poptOption table[] = {
        {"output", 'o', POPT_ARG_STRING, &output, 0, "where to write it (default: RUN.zip)", "FILE"},
        {"wait", 'w', POPT_ARG_LONG, &wait_s, 0,
            "wait this long for a bundle that is being made (default: 120)", "S"},
        POPT_AUTOHELP POPT_TABLEEND,
    };
    poptContext pc = command_options(argc, argv, table, "evidence [-o FILE] RUN");
    if (!pc)
        return EXIT_TROUBLE;
    const char *run_id = poptGetArg(pc);
    struct arp_err err = {0};
    cleanup_api struct api *api = NULL;
    char path[96], name[64];
    int rc = 0;
    if (!run_id || !uuid_ok(run_id) || poptPeekArg(pc))
        rc = arp_fail(&err, ARP_E_INVALID, 0, "evidence: give one run id");
    if (!rc)
        rc = command_api(&api, &err);
    if (!rc) {
        snprintf(path, sizeof(path), "/runs/%s/evidence", run_id);
        snprintf(name, sizeof(name), "%s.zip", run_id);
        rc = fetch(api, path, output ? output : name, wait_s, &err);
    }
    if (!rc)
        printf("%s\n", output ? output : name);
    poptFreeContext(pc);
    free(output);
    return rc ? command_trouble(&err) : 0;
}

int command_keys(int argc, const char **argv)
{
    char *output = NULL;
    const struct poptOption table[] = {
        {"output", 'o', POPT_ARG_STRING, &output, 0, "where to write them", "FILE"},
        POPT_AUTOHELP POPT_TABLEEND,
    };
    poptContext pc = command_options(argc, argv, table, "keys -o FILE");
    if (!pc)
        return EXIT_TROUBLE;
    struct arp_err err = {0};
    cleanup_api struct api *api = NULL;
    int rc = 0;
    if (!output || poptPeekArg(pc))
        rc = arp_fail(&err, ARP_E_INVALID, 0, "keys: give -o FILE");
    if (!rc)
        rc = command_api(&api, &err);
    if (!rc)
        rc = fetch(api, "/.well-known/arp-keys.json", output, 0, &err);
    poptFreeContext(pc);
    free(output);
    return rc ? command_trouble(&err) : 0;
}
