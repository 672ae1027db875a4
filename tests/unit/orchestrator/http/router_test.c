/*
 * The route table.
 */
#include "orchestrator/http/router.h"

#include "tests/support/suite.h"

static int handler(void *ctx, struct http_req *req, struct arp_err *err)
{
    (void)ctx, (void)req, (void)err;
    return 0;
}

#define ROUTE(method, pattern)                                                                               \
    {                                                                                                        \
        method, pattern, HTTP_SCOPE_READ, 0, HTTP_INLINE, handler, "does " pattern                           \
    }

static const struct http_route routes[] = {
    ROUTE("GET", "/"),
    ROUTE("GET", "/users/:id"),
    ROUTE("GET", "/users/me"),
    ROUTE("DELETE", "/users/:id"),
    ROUTE("GET", "/:kind/me"),
    ROUTE("GET", "/runs/:run/files/:name"),
};
#define N_ROUTES (sizeof(routes) / sizeof(routes[0]))

static int match(const char *method, const char *raw, const char **ret_pattern, struct path *path,
    struct path_params *params, char allow[ROUTER_ALLOW_MAX])
{
    struct router *r = NULL;
    const struct http_route *route = NULL;
    ASSERT_INT(router_new(routes, N_ROUTES, &r, NULL), 0);
    ASSERT_INT(path_parse(raw, path, NULL), 0);
    int rc = router_match(r, method, path, &route, params, allow, NULL);
    *ret_pattern = route ? route->pattern : NULL;
    router_free(r);
    return rc;
}

static void expect(const char *method, const char *raw, const char *pattern)
{
    struct path path;
    struct path_params params;
    char allow[ROUTER_ALLOW_MAX];
    const char *got;
    ASSERT_INT(match(method, raw, &got, &path, &params, allow), 0);
    ASSERT_STR(got, pattern);
    path_done(&path);
}

static void literals_win_over_parameters(void)
{
    expect("GET", "/", "/");
    expect("GET", "/users/7", "/users/:id");
    expect("GET", "/users/me", "/users/me");
    expect("GET", "/teams/me", "/:kind/me");
    expect("HEAD", "/users/7", "/users/:id");
    expect("DELETE", "/users/7", "/users/:id");
}

static void parameters_are_bound_by_name(void)
{
    struct path path;
    struct path_params params;
    char allow[ROUTER_ALLOW_MAX];
    const char *got;
    ASSERT_INT(match("GET", "/runs/r%201/files/a.txt", &got, &path, &params, allow), 0);
    ASSERT_STR(path_param(&params, "run"), "r 1");
    ASSERT_STR(path_param(&params, "name"), "a.txt");
    ASSERT_TRUE(path_param(&params, "nam") == NULL);
    path_done(&path);
}

static void misses_say_what_is_wrong(void)
{
    struct path path;
    struct path_params params;
    char allow[ROUTER_ALLOW_MAX];
    const char *got;
    ASSERT_INT(match("GET", "/runs", &got, &path, &params, allow), ARP_E_NOT_FOUND);
    path_done(&path);
    ASSERT_INT(match("GET", "/users/", &got, &path, &params, allow), ARP_E_NOT_FOUND);
    path_done(&path);
    ASSERT_INT(match("GET", "/user/7", &got, &path, &params, allow), ARP_E_NOT_FOUND);
    path_done(&path);
    ASSERT_INT(match("PUT", "/users/7", &got, &path, &params, allow), ARP_E_METHOD);
    ASSERT_STR(allow, "GET, HEAD, DELETE");
    path_done(&path);
    ASSERT_INT(match("DELETE", "/users/me", &got, &path, &params, allow), ARP_E_METHOD);
    ASSERT_STR(allow, "GET, HEAD");
    path_done(&path);
}

static void bad_tables_are_refused(void)
{
    static const struct http_route bad[][2] = {
        {ROUTE("GET", "/a/:x"), ROUTE("GET", "/a/:y")},
        {ROUTE("GET", "a"), ROUTE("GET", "/b")},
        {ROUTE("FETCH", "/a"), ROUTE("GET", "/b")},
        {ROUTE("GET", "/a/:"), ROUTE("GET", "/b")},
        {ROUTE("GET", "/a//b"), ROUTE("GET", "/b")},
        {ROUTE("GET", "/:a/:b/:c/:d/:e"), ROUTE("GET", "/b")},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct router *r = NULL;
        ASSERT_INT(router_new(bad[i], 2, &r, NULL), ARP_E_INVALID);
        ASSERT_TRUE(!r);
    }
}

static void table_prints_as_markdown(void)
{
    struct buf out cleanup_buf;
    buf_init(&out, 65536);
    router_print_markdown(routes, N_ROUTES, &out);
    ASSERT_CONTAINS(buf_str(&out), "| DELETE | `/users/:id` | read | does /users/:id |\n");
}

TEST_SUITE(router_test, TEST(literals_win_over_parameters), TEST(parameters_are_bound_by_name),
    TEST(misses_say_what_is_wrong), TEST(bad_tables_are_refused), TEST(table_prints_as_markdown))
