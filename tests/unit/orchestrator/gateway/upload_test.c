/* The queue of an answer on its way to the agent. */
#include "orchestrator/gateway/upload.h"

#include "tests/support/suite.h"

#define PIECE 16384u

/* Full to the mark while what was sent still stands before it: the piece that passes the mark must have room. */
static void queue_takes_a_piece_when_it_may(void)
{
    static char bytes[PIECE];
    for (size_t sent = 0; sent < UPLOAD_QUEUE_HIGH; sent += 1024) {
        struct upload u;
        upload_init(&u);
        while (upload_waiting(&u) + PIECE < UPLOAD_QUEUE_HIGH)
            ASSERT_TRUE(upload_put(&u, bytes, PIECE));
        ASSERT_TRUE(upload_put(&u, bytes, UPLOAD_QUEUE_HIGH - 1 - upload_waiting(&u)));
        /* The agent reads as fast as the provider writes. */
        for (size_t at = 0; at < sent; at += 512) {
            u.at += 512;
            ASSERT_TRUE(upload_put(&u, bytes, 512));
        }
        ASSERT_INT(upload_waiting(&u), UPLOAD_QUEUE_HIGH - 1);
        ASSERT_TRUE(upload_put(&u, bytes, PIECE));
        upload_done(&u);
    }
}

TEST_SUITE(upload_test, TEST(queue_takes_a_piece_when_it_may))
