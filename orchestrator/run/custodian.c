/*
 * The custody worker: see custodian.h.
 */
#include "orchestrator/run/custodian.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/run/warm.h"
#include "orchestrator/seal/custody_head.h"
#include "orchestrator/store/custody.h"
#include "orchestrator/store/holds.h"
#include "orchestrator/store/leases.h"
#include "shared/clock.h"
#include "shared/log.h"

/* Two statements that usually find nothing; a hold over very many runs is fully noted within a few turns. */
#define PERIOD_MS 10000
#define LEASE     "custody"

struct custodian {
    const struct run_env *env;
    struct signer *signer;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
};

/* Call on_page for all leaves of a day, CUSTODY_PROOFS_MAX at a time; first: number of the page's first leaf. */
typedef int page_fn(void *ctx, const struct custody_leaves *page, int64_t first, struct arp_err *err);

static int each_page(struct db *db, const char *day, page_fn *on_page, void *ctx, struct arp_err *err)
{
    struct custody_leaf last;
    int64_t first = 0;
    for (bool more = true; more;) {
        struct custody_leaves page = {0};
        int rc = custody_leaves_read(db, day, first ? &last : NULL, CUSTODY_PROOFS_MAX, &page, err);
        if (rc == 0 && page.n > 0) {
            rc = on_page(ctx, &page, first, err);
            last = page.v[page.n - 1];
            first += (int64_t)page.n;
        }
        more = page.n == CUSTODY_PROOFS_MAX;
        custody_leaves_done(&page);
        if (rc)
            return rc;
    }
    return 0;
}

struct day_work {
    struct db *db;
    const char *day;
    struct merkle *tree;
    uint64_t lines;
};

static int add_leaves(void *ctx, const struct custody_leaves *page, int64_t first, struct arp_err *err)
{
    struct day_work *w = ctx;
    (void)first;
    for (size_t i = 0; i < page->n; i++) {
        int rc = merkle_add(w->tree, page->v[i].digest, err);
        if (rc)
            return rc;
    }
    w->lines += page->n;
    return 0;
}

static int store_proofs(void *ctx, const struct custody_leaves *page, int64_t first, struct arp_err *err)
{
    const struct day_work *w = ctx;
    struct merkle_path *paths = malloc(page->n * sizeof(*paths));
    if (!paths)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for %zu proofs", page->n);
    for (size_t i = 0; i < page->n; i++)
        merkle_path_of(w->tree, (size_t)first + i, &paths[i]);
    int rc = custody_proofs_store(w->db, w->day, first, page->v, paths, page->n, err);
    free(paths);
    return rc;
}

/* Have the head of a day with its proofs signed, and enter it. */
static int sign_day(const struct day_work *w, struct signer *signer, const char *prev, struct arp_err *err)
{
    unsigned char root[SHA256_BYTES];
    char root_hex[SHA256_HEX_LEN + 1];
    struct head_signature sig;
    cleanup_buf struct buf head, base64;
    buf_init(&head, SIGNER_HEAD_MAX);
    buf_init(&base64, 256);
    merkle_root(w->tree, root);
    hex_encode(root, sizeof(root), root_hex);
    custody_head_write(&head, w->day, w->lines, root_hex, prev);
    int rc = buf_error(&head, err);
    if (rc == 0)
        rc = signer_sign_head(signer, head.data, head.len, &sig, err);
    if (rc)
        return rc;
    base64_encode(sig.sig, sizeof(sig.sig), &base64);
    rc = buf_error(&base64, err);
    if (rc)
        return rc;
    struct custody_head row = {.head = head.data, .key_id = sig.key_id, .signature = base64.data};
    memcpy(row.day, w->day, CUSTODY_DAY_LEN + 1);
    rc = custody_day_signed(w->db, &row, err);
    if (rc == ARP_E_CONFLICT)
        return 0; /* our lease ran out and another was faster; the head it signed says the same */
    if (rc == 0)
        log_info(NULL, "day of custody signed", LOG_STR("day", w->day), LOG_INT("lines", w->lines),
            LOG_STR("root", root_hex));
    return rc;
}

/* Close and sign the oldest day that is due. Errors: ARP_E_NOT_FOUND (none). */
static int close_one(struct db *db, struct signer *signer, struct arp_err *err)
{
    char day[CUSTODY_DAY_LEN + 1];
    char prev[SHA256_HEX_LEN + 1];
    int rc = custody_close_day(db, day, prev, err);
    if (rc)
        return rc;
    cleanup_merkle struct merkle *tree = merkle_new();
    struct day_work w = {.db = db, .day = day, .tree = tree};
    if (!tree)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a tree");
    rc = each_page(db, day, add_leaves, &w, err);
    if (rc == 0)
        rc = merkle_close(tree, err);
    if (rc == 0)
        rc = each_page(db, day, store_proofs, &w, err);
    if (rc == 0)
        rc = sign_day(&w, signer, prev, err);
    if (rc)
        arp_wrap(err, "day %s", day);
    /* Not found is the word for "no day is due" only. */
    return rc == ARP_E_NOT_FOUND ? arp_fail(err, ARP_E_INTERNAL, 0, "a line of %s is gone", day) : rc;
}

int custodian_sign_days(
    const struct run_env *env, struct signer *signer, unsigned *ret_signed, struct arp_err *err)
{
    int64_t epoch; /* of the lease, which the janitor renews with the others */
    bool due;
    *ret_signed = 0;
    int rc = custody_day_due(env->db, &due, err);
    if (rc || !due)
        return rc;
    rc = leases_take(env->db, LEASE, env->holder, env->cfg->lease_s * 1000, &epoch, err);
    if (rc)
        return rc == ARP_E_BUSY ? 0 : rc;
    while ((rc = close_one(env->db, signer, err)) == 0)
        ++*ret_signed;
    warm_release(env, LEASE, epoch);
    return rc == ARP_E_NOT_FOUND ? 0 : rc;
}

static void note_holds(const struct run_env *env)
{
    struct arp_err err;
    int rc;
    while ((rc = holds_note_more(env->db, &err)) == 0)
        ;
    if (rc != ARP_E_NOT_FOUND)
        log_error(LOG_LEVEL_ERROR, NULL, "holds could not be noted in the chains of custody", &err);
}

static bool nap(struct custodian *c)
{
    struct timespec until;
    clock_deadline(PERIOD_MS, &until);
    pthread_mutex_lock(&c->lock);
    while (!c->stop && pthread_cond_timedwait(&c->wake, &c->lock, &until) != ETIMEDOUT)
        ;
    bool go = !c->stop;
    pthread_mutex_unlock(&c->lock);
    return go;
}

static void *custodian_main(void *arg)
{
    struct custodian *c = arg;
    const struct run_env *env = c->env;
    do {
        struct arp_err err;
        unsigned n;
        note_holds(env);
        if (custodian_sign_days(env, c->signer, &n, &err) != 0)
            log_error(LOG_LEVEL_ERROR, NULL, "a day of custody could not be signed", &err);
    } while (nap(c));
    return NULL;
}

int custodian_start(
    const struct run_env *env, struct signer *signer, struct custodian **ret, struct arp_err *err)
{
    struct custodian *c = calloc(1, sizeof(*c));
    if (!c)
        return arp_fail(err, ARP_E_NOMEM, 0, "custodian");
    c->env = env;
    c->signer = signer;
    pthread_mutex_init(&c->lock, NULL);
    clock_cond_init(&c->wake);
    int rc = pthread_create(&c->thread, NULL, custodian_main, c);
    if (rc) {
        free(c);
        return arp_fail(err, ARP_E_IO, rc, "start the custodian");
    }
    *ret = c;
    return 0;
}

void custodian_stop(struct custodian *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
