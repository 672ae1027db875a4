/* images.c: names are asked for once within a short time, each on its own; failures are not remembered. */
#include "orchestrator/runtime/images.h"

#include <string.h>

#include "orchestrator/runtime/workspace.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/runtime/fake_server.h"

#define API "/v1.41"
#define ID1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define ID2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define ASK(name, code, text)                                                                                \
    {                                                                                                        \
        .method = "GET", .uri = API "/images/" name "/json", .status = (code), .body = (text)                \
    }

static struct fake fake;
static struct engine *engine;
static struct images *images;
static struct arp_err err;

static void begin(const struct fake_answer *answers, size_t n)
{
    fake_engine_start(&fake, answers, n);
    ASSERT_INT(engine_open(fake.socket_path, &engine, &err), 0);
    images = images_new(engine);
    ASSERT_TRUE(images != NULL);
}

/* Every call of the script was made, and no other. */
static void end(void)
{
    images_free(images);
    engine_close(engine);
    ASSERT_STR(fake.wrong, "");
    ASSERT_INT(fake.next, fake.n);
    fake_stop(&fake);
}

static void a_name_is_asked_for_once(void)
{
    static const struct fake_answer answers[] = {
        ASK("a:1", 200, "{\"Id\":\"" ID1 "\",\"Config\":{\"Labels\":{\"arp.agent.digest\":\"x\"}}}"),
        ASK("b:1", 200, "{\"Id\":\"" ID2 "\",\"Config\":{\"Labels\":{\"other\":\"x\"}}}")};
    struct engine_image i;
    begin(answers, 2);
    for (int k = 0; k < 3; k++) {
        ASSERT_INT(images_find(images, "a:1", &i, &err), 0);
        ASSERT_STR(i.id, ID1);
        ASSERT_TRUE(i.has_agent);
        ASSERT_INT(images_find(images, "b:1", &i, &err), 0);
        ASSERT_STR(i.id, ID2);
        ASSERT_TRUE(!i.has_agent);
    }
    end();
}

static void a_missing_image_is_asked_for_again(void)
{
    static const struct fake_answer answers[] = {
        ASK("a:1", 404, "{}"), ASK("a:1", 500, "{}"), ASK("a:1", 200, "{\"Id\":\"" ID1 "\"}")};
    struct engine_image i;
    begin(answers, 3);
    ASSERT_INT(images_find(images, "a:1", &i, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(images_find(images, "a:1", &i, &err), ARP_E_RUNTIME);
    ASSERT_INT(images_find(images, "a:1", &i, &err), 0);
    ASSERT_INT(images_find(images, "a:1", &i, &err), 0);
    end();
}

static void more_names_than_are_remembered_still_get_their_own_image(void)
{
    static struct fake_answer answers[101];
    static char uris[101][64];
    struct engine_image i;
    char name[16];
    for (int k = 0; k < 101; k++) {
        snprintf(uris[k], sizeof(uris[k]), API "/images/n:%d/json", k % 100);
        answers[k] = (struct fake_answer){.method = "GET",
            .uri = uris[k],
            .status = 200,
            .body = k % 2 ? "{\"Id\":\"" ID1 "\"}" : "{\"Id\":\"" ID2 "\"}"};
    }
    begin(answers, 101);
    for (int k = 0; k < 101; k++) { /* the first one again at the end: it is forgotten by then */
        snprintf(name, sizeof(name), "n:%d", k % 100);
        ASSERT_INT(images_find(images, name, &i, &err), 0);
        ASSERT_STR(i.id, k % 2 ? ID1 : ID2);
    }
    ASSERT_INT(images_find(images, "n:99", &i, &err), 0);
    ASSERT_STR(i.id, ID1);
    end();
}

static void names_that_are_none_are_refused_without_a_call(void)
{
    char long_name[RUNTIME_IMAGE_MAX + 1];
    struct engine_image i;
    memset(long_name, 'x', sizeof(long_name));
    long_name[RUNTIME_IMAGE_MAX] = '\0';
    begin(NULL, 0);
    ASSERT_INT(images_find(images, long_name, &i, &err), ARP_E_INVALID);
    ASSERT_INT(images_find(images, "", &i, &err), ARP_E_INVALID);
    ASSERT_INT(images_find(images, "../version", &i, &err), ARP_E_INVALID);
    ASSERT_INT(images_find(images, "a b", &i, &err), ARP_E_INVALID);
    end();
}

TEST_SUITE(images_test, TEST(a_name_is_asked_for_once), TEST(a_missing_image_is_asked_for_again),
    TEST(more_names_than_are_remembered_still_get_their_own_image),
    TEST(names_that_are_none_are_refused_without_a_call))
