/* leftover.c: what a name in the evidence store stands for, when it must go, and that only it goes. */
#include "orchestrator/run/leftover.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/fd.h"
#include "tests/support/suite.h"

#define ID     "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define YOUNG  (LEFTOVER_YOUNG_US - 1)
#define OLD    LEFTOVER_YOUNG_US
#define ORPHAN (10 * LEFTOVER_YOUNG_US)

static struct arp_err err;
static char root[64];

static void begin(void)
{
    snprintf(root, sizeof(root), "/tmp/arp-leftover-XXXXXX");
    ASSERT_TRUE(mkdtemp(root) != NULL);
}

static const char *in_root(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static void put_file(const char *name)
{
    cleanup_fd int fd = open(in_root(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_TRUE(fd >= 0);
}

static void a_name_stands_for_one_thing_in_one_place(void)
{
    static const struct {
        const char *name;
        int kind[3]; /* per place; -1: nothing */
    } rows[] = {
        {ID ".zip", {LEFTOVER_ZIP, -1, -1}},
        {".build-" ID, {LEFTOVER_BUILD, -1, -1}},
        {ID, {-1, LEFTOVER_STAGED, LEFTOVER_LEDGER}},
        {".tmp-" ID, {-1, LEFTOVER_HALF, -1}},
        {"staging", {-1, -1, -1}},
        {ID ".zip.Ab12Cd", {-1, -1, -1}},
        {"6F1D2C3E-8A4B-4C5D-9E6F-0A1B2C3D4E5F", {-1, -1, -1}},
    };
    begin();
    cleanup_fd int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put_file(rows[i].name);
        for (int place = 0; place < 3; place++) {
            struct retention_name id = {""};
            struct leftover l;
            bool is =
                leftover_of((enum leftover_place)place, dir, rows[i].name, clock_now_us() + OLD, &id, &l);
            ASSERT_INT(is ? (int)l.kind : -1, rows[i].kind[place]);
            ASSERT_TRUE(!is || (strcmp(id.id, ID) == 0 && l.age_us >= OLD && l.age_us < 2 * OLD));
        }
        ASSERT_INT(unlink(in_root(rows[i].name)), 0);
    }
    struct retention_name id;
    struct leftover l;
    ASSERT_TRUE(!leftover_of(LEFTOVER_IN_ROOT, dir, ID ".zip", 0, &id, &l)); /* gone meanwhile */
    ASSERT_INT(rmdir(root), 0);
}

static void it_goes_when_nobody_can_need_it(void)
{
    const struct retention_owner none = {0}, live = {.known = true, .live = true}, ended = {.known = true},
                                 claimed = {.known = true, .claimed = true},
                                 ready = {.known = true, .ready = true},
                                 deleted = {.known = true, .deleted = true};
    const struct {
        enum leftover_kind kind;
        int64_t age_us;
        const struct retention_owner *owner;
        bool goes;
    } rows[] = {
        {LEFTOVER_ZIP, ORPHAN + 1, &none, true},
        {LEFTOVER_ZIP, ORPHAN, &none, false},
        {LEFTOVER_ZIP, 0, &deleted, true},
        {LEFTOVER_ZIP, ORPHAN + 1, &ready, false},
        {LEFTOVER_BUILD, OLD, &none, true},
        {LEFTOVER_BUILD, YOUNG, &none, false},
        {LEFTOVER_BUILD, OLD, &claimed, false},
        {LEFTOVER_STAGED, ORPHAN + 1, &none, true},
        {LEFTOVER_STAGED, OLD, &none, false},
        {LEFTOVER_STAGED, OLD, &ready, true},
        {LEFTOVER_STAGED, OLD, &deleted, true},
        {LEFTOVER_STAGED, YOUNG, &ready, false},
        {LEFTOVER_STAGED, ORPHAN + 1, &ended, false}, /* its bundle is still to be built */
        {LEFTOVER_HALF, OLD, &ended, true},
        {LEFTOVER_HALF, YOUNG, &ended, false},
        {LEFTOVER_HALF, ORPHAN + 1, &live, false},
        {LEFTOVER_LEDGER, ORPHAN + 1, &none, true},
        {LEFTOVER_LEDGER, OLD, &none, false},
        {LEFTOVER_LEDGER, OLD, &ended, true},
        {LEFTOVER_LEDGER, YOUNG, &ended, false},
        {LEFTOVER_LEDGER, ORPHAN + 1, &live, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct leftover l = {rows[i].kind, rows[i].age_us};
        ASSERT_INT(leftover_must_go(&l, rows[i].owner, ORPHAN), rows[i].goes);
    }
}

static void an_unfinished_build_goes_with_its_files(void)
{
    struct config cfg = {.evidence_root = root};
    const struct run_env env = {.cfg = &cfg};
    const struct leftover build = {LEFTOVER_BUILD, OLD}, zip = {LEFTOVER_ZIP, OLD};
    begin();
    cleanup_fd int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT_INT(mkdir(in_root(".build-" ID), 0700), 0);
    put_file(".build-" ID "/bundle.zip");
    put_file(ID ".zip");
    ASSERT_INT(leftover_remove(&build, &env, dir, ID, &err), 0);
    ASSERT_TRUE(access(in_root(".build-" ID), F_OK) != 0 && access(in_root(ID ".zip"), F_OK) == 0);
    ASSERT_INT(leftover_remove(&zip, &env, dir, ID, &err), 0);
    ASSERT_TRUE(access(in_root(ID ".zip"), F_OK) != 0);
    ASSERT_INT(leftover_remove(&build, &env, dir, ID, &err), 0); /* gone is gone */
    ASSERT_INT(leftover_remove(&zip, &env, dir, ID, &err), 0);
    ASSERT_INT(symlink("/tmp", in_root(".build-" ID)), 0);
    ASSERT_INT(leftover_remove(&build, &env, dir, ID, &err), ARP_E_IO);
    ASSERT_INT(unlink(in_root(".build-" ID)), 0);
    ASSERT_INT(rmdir(root), 0);
}

TEST_SUITE(leftover_test, TEST(a_name_stands_for_one_thing_in_one_place),
    TEST(it_goes_when_nobody_can_need_it), TEST(an_unfinished_build_goes_with_its_files))
