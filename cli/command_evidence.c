/*
 * arpctl evidence and arpctl keys: fetch the bundle of a run or a workflow run, and the keys to check it with.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/checks.h"
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

/* Which steps' bundles the bundle of a workflow run at file lists, and fetch them into dir. The list steers no path: its names are run ids. */
static int fetch_steps(struct api *api, const char *file, const char *dir, long wait_s, struct arp_err *err)
{
    struct packed zip;
    int rc = packed_open(file, &zip, err);
    const struct packed_file *list = rc ? NULL : packed_find(&zip, "data/bundles-sha256.txt");
    if (!rc && !list)
        rc = arp_fail(err, ARP_E_INVALID, 0, "'%s' is not the bundle of a workflow run", file);
    if (!rc && mkdir(dir, 0755) < 0 && errno != EEXIST)
        rc = arp_fail(err, ARP_E_IO, errno, "make '%s'", dir);
    char digest[SHA256_HEX_LEN + 1], name[64], path[96], to[PATH_MAX];
    for (size_t at = 0; !rc && at < list->size;) {
        if (!manifest_line(list, &at, digest, name, sizeof(name)) || strlen(name) != UUID_LEN + 4 ||
            strcmp(name + UUID_LEN, ".zip") != 0) {
            rc = arp_fail(err, ARP_E_CORRUPT, 0, "'%s' has a list of bundles that can't be read", file);
            break;
        }
        name[UUID_LEN] = '\0';
        if (!uuid_ok(name) || snprintf(to, sizeof(to), "%s/%s.zip", dir, name) >= (int)sizeof(to)) {
            rc = arp_fail(
                err, ARP_E_CORRUPT, 0, "'%s' lists a bundle of no run, or '%s' is too long", file, dir);
            break;
        }
        snprintf(path, sizeof(path), "/runs/%s/evidence", name);
        rc = fetch(api, path, to, wait_s, err);
        if (!rc)
            printf("%s\n", to);
    }
    packed_done(&zip);
    return rc;
}

struct evidence_options {
    char *output; /* file; so is the next a directory; owned, NULL: not given */
    char *steps;
    int workflow;
    long wait_s;
};

static int get_evidence(const struct evidence_options *o, const char *id, struct arp_err *err)
{
    char path[96], name[64];
    cleanup_api struct api *api = NULL;
    snprintf(path, sizeof(path), "/%s/%s/evidence", o->workflow ? "workflow-runs" : "runs", id);
    snprintf(name, sizeof(name), "%s.zip", id);
    const char *file = o->output ? o->output : name;
    int rc = command_api(&api, err);
    if (!rc)
        rc = fetch(api, path, file, o->wait_s, err);
    if (!rc)
        printf("%s\n", file);
    if (!rc && o->steps)
        rc = fetch_steps(api, file, o->steps, o->wait_s, err);
    return rc;
}

int command_evidence(int argc, const char **argv)
{
    struct evidence_options o = {.wait_s = 120};
    const struct poptOption table[] = {
        {"output", 'o', POPT_ARG_STRING, &o.output, 0, "where to write it (default: ID.zip)", "FILE"},
        {"workflow-run", 0, POPT_ARG_NONE, &o.workflow, 0, "ID is a workflow run's", NULL},
        {"steps", 's', POPT_ARG_STRING, &o.steps, 0,
            "with --workflow-run: fetch the bundles of its steps' runs too, to DIR/<runId>.zip", "DIR"},
        {"wait", 'w', POPT_ARG_LONG, &o.wait_s, 0,
            "wait this long for a bundle that is being made (default: 120)", "S"},
        POPT_AUTOHELP POPT_TABLEEND,
    };
    poptContext pc = command_options(
        argc, argv, table, "evidence [-o FILE] RUN | evidence --workflow-run [--steps DIR] ID");
    if (!pc)
        return EXIT_TROUBLE;
    const char *id = poptGetArg(pc);
    struct arp_err err = {0};
    int rc = 0;
    if (!id || !uuid_ok(id) || poptPeekArg(pc))
        rc = arp_fail(&err, ARP_E_INVALID, 0, "evidence: give one id");
    else if (o.steps && !o.workflow)
        rc = arp_fail(&err, ARP_E_INVALID, 0, "evidence: --steps is for --workflow-run");
    if (!rc)
        rc = get_evidence(&o, id, &err);
    poptFreeContext(pc);
    free(o.output);
    free(o.steps);
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
