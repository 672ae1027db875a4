/*
 * arpctl verify: the command line around verify.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/custody.h"
#include "cli/verify.h"

static int load_keys(const char *ring, const char *pem, struct keyring **ret, struct arp_err *err)
{
    if (ring && pem)
        return arp_fail(err, ARP_E_INVALID, 0, "give --keyring or --public-key, not both");
    if (ring)
        return keyring_load_json(ring, ret, err);
    return pem ? keyring_load_pem(pem, ret, err) : 0;
}

int command_verify(int argc, const char **argv)
{
    char *ring = NULL, *pem = NULL, *custody = NULL;
    int json = 0, strict = 0;
    struct keyring *keys = NULL;
    struct arp_err err = {0};
    const struct poptOption table[] = {
        {"keyring", 'k', POPT_ARG_STRING, &ring, 0, "trusted keys, as /.well-known/arp-keys.json gives them",
            "FILE"},
        {"public-key", 'p', POPT_ARG_STRING, &pem, 0, "one trusted public key (PEM)", "FILE"},
        {"custody", 'c', POPT_ARG_STRING, &custody, 0,
            "check a chain of custody, as `arpctl custody` gives it; BUNDLE.zip is what there is of the "
            "evidence",
            "FILE"},
        {"json", 0, POPT_ARG_NONE, &json, 0, "print one JSON object", NULL},
        {"strict", 0, POPT_ARG_NONE, &strict, 0, "a check that can't be made is not accepted (exit 3)", NULL},
        POPT_AUTOHELP POPT_TABLEEND,
    };
    poptContext pc = command_options(argc, argv, table,
        "verify [--keyring FILE | --public-key FILE] [--json] [--strict] BUNDLE.zip | --custody FILE "
        "[BUNDLE.zip]");
    if (!pc)
        return VERIFY_UNUSABLE;
    const char *path = poptGetArg(pc);
    int code = VERIFY_UNUSABLE;
    if ((!path && !custody) || poptPeekArg(pc)) {
        fprintf(stderr, "arpctl verify: give one bundle\n");
    } else if (load_keys(ring, pem, &keys, &err) != 0) {
        command_trouble(&err);
    } else if (custody) {
        struct custody_report report;
        code = verify_custody(custody, keys, path, &report);
        (json ? custody_print_json : custody_print)(&report, stdout);
    } else {
        struct verify_report report;
        code = verify_bundle(path, keys, strict, &report);
        (json ? verify_print_json : verify_print)(&report, stdout);
    }
    keyring_free(keys);
    poptFreeContext(pc);
    free(ring);
    free(pem);
    free(custody);
    return code;
}
