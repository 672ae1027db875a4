/*
 * Tests orchestrator/run/provider_url.c.
 */
#include "orchestrator/run/provider_url.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

static struct arp_err err;

static bool allowed(const char *url, enum config_reach reach)
{
    int rc = provider_url_check(url, reach, &err);
    ASSERT_TRUE(rc == 0 || rc == ARP_E_FIELD);
    return rc == 0;
}

/* From which reach on each URL of the list is allowed; CONFIG_REACH_ANY + 1: never. */
static void check(const char *const *urls, int from)
{
    for (; *urls; urls++) {
        for (int reach = CONFIG_REACH_PUBLIC; reach <= CONFIG_REACH_ANY; reach++) {
            bool got = allowed(*urls, (enum config_reach)reach);
            if (got != (reach >= from))
                fprintf(stderr, "%s at reach %d\n", *urls, reach);
            ASSERT_TRUE(got == (reach >= from));
        }
    }
}

static void https_to_the_internet_is_allowed(void)
{
    static const char *const urls[] = {"https://api.example.com", "https://api.example.com:8443",
        "https://a-1.example.com/openai/v1.0", "https://8.8.8.8", "https://[2606:4700::1111]:443/x", NULL};
    check(urls, CONFIG_REACH_PUBLIC);
}

static void this_host_needs_loopback(void)
{
    static const char *const urls[] = {"http://127.0.0.1:8089", "https://127.0.0.1", "http://127.9.9.9/v",
        "http://localhost:11434", "http://LOCALHOST", "https://a.localhost", "http://[::1]:80",
        "https://[::ffff:127.0.0.1]", NULL};
    check(urls, CONFIG_REACH_LOOPBACK);
}

static void http_and_private_networks_need_allow(void)
{
    static const char *const urls[] = {"http://api.example.com", "http://8.8.8.8", "https://10.0.0.1",
        "http://192.168.1.1:8080", "https://169.254.169.254/latest", "https://[fe80::1]", "https://[fd00::1]",
        "https://[::ffff:169.254.169.254]", "https://0.0.0.0", "https://[::]", "https://metadata",
        "https://metadata.google.internal", "http://postgres", "https://nas.local", "http://llm.lan:8000",
        NULL};
    check(urls, CONFIG_REACH_ANY);
}

static void what_is_no_plain_url_is_never_allowed(void)
{
    static const char *const urls[] = {"", "api.example.com", "ftp://api.example.com",
        "HTTPS://api.example.com", "file:///etc/passwd", "https://", "https:///x", "https://:443",
        "https://user@api.example.com", "https://user:pw@api.example.com", "https://api.example.com@10.0.0.1",
        "https://api.example.com?x=1", "https://api.example.com/?x=1", "https://api.example.com/v1#f",
        "https://api.example.com#@10.0.0.1", "https://api.example.com/", "https://api.example.com/v1/",
        "https://api.example.com//v1", "https://api.example.com/../v1", "https://api.example.com/./v1",
        "https://api.example.com/%2e%2e", "https://api.example.com/a b", "https://api.example.com/\n",
        "https://api.example.com\\@10.0.0.1", "https://api.example.com:0", "https://api.example.com:65536",
        "https://api.example.com:080", "https://api.example.com:", "https://api.example.com:8x",
        "https://api.example.com.", "https://.example.com", "https://a..example.com",
        "https://-a.example.com", "https://a-.example.com", "https://2130706433", "https://127.1",
        "https://0x7f.0.0.1", "https://0x7f000001", "https://017700000001", "https://127.0.0.01",
        "https://10.0.0.1.", "https://api.example.0x10", "https://[::1", "https://[]", "https://[::1%25lo]",
        "https://[1.2.3.4]", "https://ex\xc3\xa4mple.com", "https://api_x.example.com", NULL};
    check(urls, CONFIG_REACH_ANY + 1);
}

static void one_over_its_length_is_refused(void)
{
    char url[PROVIDER_URL_MAX + 64] = "https://api.example.com/";
    memset(url + strlen(url), 'a', PROVIDER_URL_MAX);
    url[PROVIDER_URL_MAX] = '\0';
    ASSERT_TRUE(allowed(url, CONFIG_REACH_PUBLIC));
    url[PROVIDER_URL_MAX] = 'a';
    ASSERT_TRUE(!allowed(url, CONFIG_REACH_ANY));
}

static void a_refusal_names_the_option_that_would_allow_it(void)
{
    ASSERT_TRUE(!allowed("http://127.0.0.1", CONFIG_REACH_PUBLIC));
    ASSERT_CONTAINS(err.msg, "ARP_PROVIDER_HTTP=loopback");
    ASSERT_STR(err.detail, "\"field\":\"baseUrl\"");
    ASSERT_TRUE(!allowed("https://10.0.0.1", CONFIG_REACH_LOOPBACK));
    ASSERT_CONTAINS(err.msg, "ARP_PROVIDER_HTTP=allow");
}

TEST_SUITE(provider_url_test, TEST(https_to_the_internet_is_allowed), TEST(this_host_needs_loopback),
    TEST(http_and_private_networks_need_allow), TEST(what_is_no_plain_url_is_never_allowed),
    TEST(one_over_its_length_is_refused), TEST(a_refusal_names_the_option_that_would_allow_it))
