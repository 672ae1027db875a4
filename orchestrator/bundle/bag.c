/*
 * BagIt papers and README: see bag.h.
 */
#include "orchestrator/bundle/bag.h"

#include <inttypes.h>
#include <string.h>

#include "orchestrator/seal/signer.h"
#include "shared/clock.h"

/* One manifest line is at most 150 bytes, a bundle has at most BAG_FILES_MAX files; a README is a page. */
#define BAG_FILES_MAX 65535u
#define MANIFEST_MAX  (150u * BAG_FILES_MAX)
#define PAPER_MAX     (16u << 10)

int bag_add_readme(const struct bag_readme *r, struct entries *e, struct arp_err *err)
{
    cleanup_buf struct buf b;
    buf_init(&b, PAPER_MAX);
    buf_printf(&b,
        "%s"
        "Check it with stock tools, in this directory. The public key comes from the operator, never from "
        "this bundle.\n\n"
        "1. The files:      sha256sum --strict -c tagmanifest-sha256.txt && sha256sum --strict -c "
        "manifest-sha256.txt\n"
        "2. The signature:  ssh-keygen -Y verify -f allowed_signers -I " SIGNER_SSH_PRINCIPAL
        " -n " SIGNER_SSH_NAMESPACE " \\\n"
        "                     -s attestation/tagmanifest-sha256.txt.sig < tagmanifest-sha256.txt\n"
        "   allowed_signers is what the operator's server answers at /.well-known/arp-allowed-signers.\n"
        "3. The statement:  %s, a DSSE envelope with an in-toto/SLSA statement by "
        "the same key.\n"
        "4. The chains:     %s\n"
        "5. All of it:      %s\n"
        "   keys.json is what the operator's server answers at /.well-known/arp-keys.json.\n\n"
        "What this proves is that the record is as the recorder made it: unaltered, uncut, of this run. It "
        "does not prove that the\n"
        "operator of the recorder was honest, nor that something not recorded did not happen.\n",
        r->about, r->envelope, r->chains, r->verify);
    return entries_add_buf(e, "README.txt", &b, err);
}

static bool is_payload(const struct entry *entry)
{
    return strncmp(entry->name, "data/", 5) == 0;
}

static int add_bag_info(const struct bag *bag, struct entries *e, struct arp_err *err)
{
    uint64_t bytes = 0, files = 0;
    for (size_t i = 0; i < e->count; i++) {
        if (!is_payload(&e->items[i]))
            continue;
        bytes += e->items[i].size;
        files++;
    }
    char day[CLOCK_ISO_LEN + 1];
    clock_iso(bag->ended_us, day);
    cleanup_buf struct buf b;
    buf_init(&b, PAPER_MAX);
    buf_printf(&b,
        "Bag-Software-Agent: arp-orchestrator\n"
        "Bagging-Date: %.10s\n"
        "External-Identifier: urn:uuid:%s\n"
        "Payload-Oxum: %" PRIu64 ".%" PRIu64 "\n"
        "Arp-Salt: %s\n",
        day, bag->id, bytes, files, bag->salt);
    return entries_add_buf(e, "bag-info.txt", &b, err);
}

static int add_manifest(struct entries *e, const char *name, bool payload, struct arp_err *err)
{
    cleanup_buf struct buf b;
    buf_init(&b, MANIFEST_MAX);
    entries_sort(e);
    for (size_t i = 0; i < e->count; i++)
        if (is_payload(&e->items[i]) == payload)
            buf_printf(&b, "%s  %s\n", e->items[i].sha256, e->items[i].name);
    return entries_add_buf(e, name, &b, err);
}

int bag_seal_manifests(const struct bag *bag, struct entries *e, struct arp_err *err)
{
    static const char bagit[] = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
    int rc = entries_add_bytes(e, "bagit.txt", bagit, sizeof(bagit) - 1, err);
    if (!rc)
        rc = add_bag_info(bag, e, err);
    if (!rc)
        rc = add_manifest(e, "manifest-sha256.txt", true, err);
    if (!rc)
        rc = add_manifest(e, "tagmanifest-sha256.txt", false, err);
    return rc;
}
