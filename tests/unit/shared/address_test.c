/*
 * Tests shared/address.c.
 */
#include "shared/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

static enum address_kind kind(const char *text)
{
    struct sockaddr_storage a = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        a.ss_family = AF_INET;
    } else {
        a.ss_family = AF_INET6;
        ASSERT_INT(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
    }
    return address_kind_of((struct sockaddr *)&a);
}

static void check(const char *const *texts, enum address_kind want)
{
    for (; *texts; texts++) {
        if (kind(*texts) != want)
            fprintf(stderr, "%s\n", *texts);
        ASSERT_INT(kind(*texts), want);
    }
}

static void this_host_is_loopback(void)
{
    static const char *const texts[] = {
        "127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", NULL};
    check(texts, ADDRESS_LOOPBACK);
}

static void networks_of_ones_own_are_private(void)
{
    static const char *const texts[] = {"0.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.1",
        "100.127.255.255", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1",
        "198.51.100.7", "203.0.113.9", "192.168.0.1", "198.18.0.1", "198.19.255.255", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "::", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1",
        "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:0a00:0001::", "2001::1",
        "2001:1ff::1", "2001:db8::1", "3fff::1", "3fff:fff::1", "4000::1", "::7f00:1", NULL};
    check(texts, ADDRESS_PRIVATE);
}

static void the_rest_is_public(void)
{
    static const char *const texts[] = {"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255",
        "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "172.15.255.255", "172.32.0.0",
        "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
        "2606:4700::1111", "2001:4860:4860::8888", "2001:200::1", "3ffe::1", "3fff:1000::1", "::ffff:8.8.8.8",
        "64:ff9b::808:808", NULL};
    check(texts, ADDRESS_PUBLIC);
}

static void what_is_no_ip_address_is_not_public(void)
{
    struct sockaddr a = {.sa_family = AF_UNIX};
    ASSERT_INT(address_kind_of(&a), ADDRESS_PRIVATE);
}

TEST_SUITE(address_test, TEST(this_host_is_loopback), TEST(networks_of_ones_own_are_private),
    TEST(the_rest_is_public), TEST(what_is_no_ip_address_is_not_public))
