/*
 * Base URLs of model providers: see provider_url.h.
 */
#include "orchestrator/run/provider_url.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shared/address.h"

#define DIGITS   "0123456789"
#define ALNUM    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS
#define HOST_MAX 253 /* RFC 1035: of a name in text form */

struct parts {
    bool https;
    char host[HOST_MAX + 1]; /* without brackets */
    bool bracketed;
    const char *rest; /* behind the host */
};

static int fail(struct arp_err *err, const char *why)
{
    return arp_fail_field(err, "baseUrl", "'baseUrl' %s", why);
}

static int take_scheme(const char **p, struct parts *ret, struct arp_err *err)
{
    static const char https[] = "https://", http[] = "http://";
    ret->https = strncmp(*p, https, strlen(https)) == 0;
    if (!ret->https && strncmp(*p, http, strlen(http)) != 0)
        return fail(err, "must begin with https://");
    *p += ret->https ? strlen(https) : strlen(http);
    return 0;
}

static int take_host(const char *p, struct parts *ret, struct arp_err *err)
{
    size_t n;
    ret->bracketed = *p == '[';
    if (ret->bracketed)
        p++;
    n = strspn(p, ret->bracketed ? DIGITS "abcdefABCDEF:." : ALNUM ".-");
    if (n == 0 || n > HOST_MAX || (ret->bracketed && p[n] != ']'))
        return fail(err, "must name a host");
    memcpy(ret->host, p, n);
    ret->host[n] = '\0';
    ret->rest = p + n + ret->bracketed;
    if (*ret->rest && !strchr(":/", *ret->rest))
        return fail(err, "must be SCHEME://HOST[:PORT][/PATH] and nothing else: no user, query or fragment");
    return 0;
}

static int check_port(struct parts *ret, struct arp_err *err)
{
    if (*ret->rest != ':')
        return 0;
    const char *digits = ret->rest + 1;
    size_t n = strspn(digits, DIGITS);
    long port = n > 0 && n <= 5 && digits[0] != '0' ? strtol(digits, NULL, 10) : 0;
    if (port < 1 || port > 65535 || (digits[n] && digits[n] != '/'))
        return fail(err, "must have a port from 1 to 65535");
    ret->rest = digits + n;
    return 0;
}

/* Plain segments: nothing that a path could be rewritten by. */
static int check_path(const char *p, struct arp_err *err)
{
    while (*p == '/') {
        size_t n = strspn(p + 1, ALNUM "._~-");
        bool dots = n > 0 && strspn(p + 1, ".") == n;
        if (n == 0 && p[1] == '\0')
            return fail(err, "must not end with '/'");
        if (n == 0 || dots)
            return fail(err, "has a path with a segment that is empty or of dots, or with other characters "
                             "than letters, digits and ._~-");
        p += 1 + n;
    }
    return *p ? fail(err, "must be SCHEME://HOST[:PORT][/PATH] and nothing else: no user, query or fragment")
              : 0;
}

/* What resolvers take for a number is an address, in whatever old form it is written. */
static bool ends_in_number(const char *host)
{
    const char *dot = strrchr(host, '.');
    const char *last = dot ? dot + 1 : host;
    return strspn(last, DIGITS) == strlen(last) || strncasecmp(last, "0x", 2) == 0;
}

static bool ends_with(const char *host, const char *suffix)
{
    size_t n = strlen(host), s = strlen(suffix);
    return n >= s && strcasecmp(host + n - s, suffix) == 0;
}

/* By name: what is known to be of the host itself or of networks of one's own. */
static enum address_kind kind_of_name(const char *host)
{
    static const char *const own[] = {".local", ".internal", ".home.arpa", ".lan", ".intranet", ".corp"};
    if (strcasecmp(host, "localhost") == 0 || ends_with(host, ".localhost"))
        return ADDRESS_LOOPBACK;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (ends_with(host, own[i]))
            return ADDRESS_PRIVATE;
    }
    return strchr(host, '.') ? ADDRESS_PUBLIC : ADDRESS_PRIVATE;
}

static bool labels_ok(const char *host)
{
    for (const char *p = host;; p++) {
        size_t n = strspn(p, ALNUM "-");
        if (n == 0 || n > 63 || p[0] == '-' || p[n - 1] == '-')
            return false;
        p += n;
        if (!*p)
            return true;
    }
}

static int judge_host(const struct parts *u, enum address_kind *ret, struct arp_err *err)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (u->bracketed) {
        if (inet_pton(AF_INET6, u->host, &v6) != 1)
            return fail(err, "has no IPv6 address between its brackets");
        *ret = address_kind_v6(&v6);
    } else if (inet_pton(AF_INET, u->host, &v4) == 1) {
        *ret = address_kind_v4(v4);
    } else if (!labels_ok(u->host) || ends_in_number(u->host)) {
        return fail(err, "names a host that is neither a DNS name nor an address in its usual form");
    } else {
        *ret = kind_of_name(u->host);
    }
    return 0;
}

static int check_reach(
    const struct parts *u, enum address_kind kind, enum config_reach reach, struct arp_err *err)
{
    if (kind == ADDRESS_LOOPBACK && reach == CONFIG_REACH_PUBLIC)
        return fail(
            err, "is of the server's own host: its operator has not allowed it (ARP_PROVIDER_HTTP=loopback)");
    if (kind == ADDRESS_PRIVATE && reach != CONFIG_REACH_ANY)
        return fail(err,
            "is of a private network: the server's operator has not allowed it (ARP_PROVIDER_HTTP=allow)");
    if (!u->https && kind != ADDRESS_LOOPBACK && reach != CONFIG_REACH_ANY)
        return fail(err, "must begin with https://");
    return 0;
}

int provider_url_check(const char *url, enum config_reach reach, struct arp_err *err)
{
    struct parts u = {0};
    enum address_kind kind = ADDRESS_PRIVATE;
    const char *p = url;
    if (strlen(url) > PROVIDER_URL_MAX)
        return arp_fail_field(err, "baseUrl", "'baseUrl' has over %d bytes", PROVIDER_URL_MAX);
    int rc = take_scheme(&p, &u, err);
    if (rc == 0)
        rc = take_host(p, &u, err);
    if (rc == 0)
        rc = check_port(&u, err);
    if (rc == 0)
        rc = check_path(u.rest, err);
    if (rc == 0)
        rc = judge_host(&u, &kind, err);
    return rc ? rc : check_reach(&u, kind, reach, err);
}
