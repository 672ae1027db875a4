/*
 * Tests of agent/peer.c.
 */
#include "agent/peer.h"

#include <arpa/inet.h>
#include <string.h>

#include "tests/support/suite.h"

static bool local4(const char *text)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    inet_pton(AF_INET, text, &a.sin_addr);
    return peer_is_local((struct sockaddr *)&a, sizeof(a));
}

static bool local6(const char *text)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    inet_pton(AF_INET6, text, &a.sin6_addr);
    return peer_is_local((struct sockaddr *)&a, sizeof(a));
}

static void peer_drops_loopback_in_every_form(void)
{
    ASSERT_TRUE(local4("127.0.0.1"));
    ASSERT_TRUE(local4("127.9.9.9"));
    ASSERT_TRUE(local6("::1"));
    ASSERT_TRUE(local6("::ffff:127.0.0.1"));
}

static void peer_lets_others_in(void)
{
    ASSERT_TRUE(!local4("192.0.2.7"));
    ASSERT_TRUE(!local6("2001:db8::7"));
}

static void peer_drops_what_is_not_ip(void)
{
    struct sockaddr a = {.sa_family = AF_UNIX};
    ASSERT_TRUE(peer_is_local(&a, sizeof(a)));
}

TEST_SUITE(peer_test, TEST(peer_drops_loopback_in_every_form), TEST(peer_lets_others_in),
    TEST(peer_drops_what_is_not_ip))
