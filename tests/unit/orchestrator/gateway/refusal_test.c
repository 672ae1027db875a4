/* Refusals in each dialect's own form. */
#include "orchestrator/gateway/refusal.h"

#include "tests/support/suite.h"

static const char *written(enum refusal_kind k, int status, enum model_dialect d)
{
    static struct buf out;
    struct refusal r;
    ASSERT_TRUE(!refuse(&r, k, status, "why: \"%s\"", "x"));
    buf_done(&out);
    buf_init(&out, 4096);
    refusal_write(&r, d, &out);
    return buf_str(&out);
}

static void dialects_have_their_own_form(void)
{
    ASSERT_STR(written(REFUSED_BUDGET, 400, MODEL_RESPONSES),
        "{\"error\":{\"message\":\"why: "
        "\\\"x\\\"\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":"
        "\"arp_budget_exceeded\"}}");
    ASSERT_STR(written(REFUSED_PROVIDER, 502, MODEL_CHAT),
        "{\"error\":{\"message\":\"why: \\\"x\\\"\",\"type\":\"server_error\",\"param\":null,\"code\":"
        "\"arp_provider_unavailable\"}}");
    ASSERT_STR(written(REFUSED_MODEL, 403, MODEL_MESSAGES),
        "{\"type\":\"error\",\"error\":{\"type\":\"permission_error\",\"message\":\"why: "
        "\\\"x\\\"\",\"code\":"
        "\"arp_model_not_allowed\"}}");
    ASSERT_STR(written(REFUSED_HOSTED_TOOL, 400, MODEL_GEMINI),
        "{\"error\":{\"code\":400,\"message\":\"why: "
        "\\\"x\\\"\",\"status\":\"INVALID_ARGUMENT\",\"details\":[{"
        "\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"arp_hosted_tool\",\"domain\":"
        "\"arp\"}]}}");
}

TEST_SUITE(refusal_test, TEST(dialects_have_their_own_form))
