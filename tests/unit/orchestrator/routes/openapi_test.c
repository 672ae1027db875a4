/*
 * The description of the API (docs/openapi.yaml, as it is in the program) against the route table and the error table.
 * What the schemas say of real answers is tests/integration/v0.3/openapi_test.c's.
 */
#include "orchestrator/routes/openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/routes/table.h"
#include "shared/json.h"
#include "tests/support/suite.h"

static const char *const methods[] = {"get", "post", "put", "patch", "delete"};
#define N_METHODS (sizeof(methods) / sizeof(methods[0]))

static cJSON *doc;

static int set_up(void)
{
    struct arp_err err;
    return json_parse(openapi_json, openapi_json_len, &doc, &err);
}

static int tear_down(void)
{
    cJSON_Delete(doc);
    return 0;
}

static const cJSON *get(const cJSON *obj, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(obj, name);
}

static bool holds(const cJSON *list, const char *text)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (cJSON_IsString(item) && strcmp(item->valuestring, text) == 0)
            return true;
    }
    return false;
}

/* "#/components/schemas/Id" -> that; NULL when it is not there. */
static const cJSON *resolve(const char *ref)
{
    char text[256];
    char *rest = text;
    const cJSON *at = doc;
    if (strncmp(ref, "#/", 2) != 0 || strlen(ref) >= sizeof(text))
        return NULL;
    snprintf(text, sizeof(text), "%s", ref + 2);
    for (char *name; at && (name = strsep(&rest, "/"));)
        at = get(at, name);
    return at;
}

static const cJSON *followed(const cJSON *obj)
{
    const char *ref = cJSON_GetStringValue(get(obj, "$ref"));
    return ref ? resolve(ref) : obj;
}

/* Fail with words: a table of routes gives no line number. */
#define EXPECT(ok, ...)                                                                                      \
    do {                                                                                                     \
        bool expect_ok = (ok);                                                                               \
        if (!expect_ok) {                                                                                    \
            printf(__VA_ARGS__);                                                                             \
            printf("\n");                                                                                    \
        }                                                                                                    \
        CU_ASSERT(expect_ok);                                                                                \
    } while (0)

/* --- routes ------------------------------------------------------------------------------------------------------------------ */

/* "/runs/:id/events" -> "/runs/{id}/events" */
static void template_of(const char *pattern, char ret[256])
{
    size_t n = 0;
    for (const char *p = pattern; *p && n < 200;) {
        if (*p != ':') {
            ret[n++] = *p++;
            continue;
        }
        size_t len = strcspn(p, "/");
        n += (size_t)snprintf(ret + n, 256 - n, "{%.*s}", (int)len - 1, p + 1);
        p += len;
    }
    ret[n] = '\0';
}

static const cJSON *operation_of(const struct http_route *r)
{
    char path[256], method[16];
    template_of(r->pattern, path);
    snprintf(method, sizeof(method), "%s", r->method);
    for (char *p = method; *p; p++)
        *p |= 0x20;
    return get(get(get(doc, "paths"), path), method);
}

/* Without a scope: no requirement. With one: that scope, by either header. */
static bool says_scope(const cJSON *operation, enum http_scope scope)
{
    static const char *const names[] = {
        [HTTP_SCOPE_READ] = "read", [HTTP_SCOPE_RUN] = "run", [HTTP_SCOPE_ADMIN] = "admin"};
    const cJSON *security = get(operation, "security");
    if (scope == HTTP_SCOPE_NONE)
        return cJSON_IsArray(security) && cJSON_GetArraySize(security) == 0;
    const cJSON *key = get(cJSON_GetArrayItem(security, 0), "apiKey");
    const cJSON *bearer = get(cJSON_GetArrayItem(security, 1), "bearer");
    return cJSON_GetArraySize(security) == 2 && cJSON_GetArraySize(key) == 1 &&
           cJSON_GetArraySize(bearer) == 1 && holds(key, names[scope]) && holds(bearer, names[scope]);
}

static void every_route_is_described_with_its_scope_and_body(void)
{
    for (size_t i = 0; i < route_table_len; i++) {
        const struct http_route *r = &route_table[i];
        const cJSON *op = operation_of(r);
        EXPECT(op, "%s %s is not described", r->method, r->pattern);
        if (!op)
            continue;
        EXPECT(says_scope(op, r->scope), "%s %s has another scope", r->method, r->pattern);
        EXPECT((r->body_limit > 0) == (get(op, "requestBody") != NULL), "%s %s: body", r->method, r->pattern);
        EXPECT((r->body_limit > 0) == (get(get(op, "responses"), "413") != NULL), "%s %s: 413", r->method,
            r->pattern);
        EXPECT((r->scope != HTTP_SCOPE_NONE) <= (get(get(op, "responses"), "401") != NULL), "%s %s: 401",
            r->method, r->pattern);
    }
}

static bool is_route(const cJSON *operation)
{
    for (size_t i = 0; i < route_table_len; i++) {
        if (operation_of(&route_table[i]) == operation)
            return true;
    }
    return false;
}

static void every_described_operation_is_a_route(void)
{
    const cJSON *path;
    cJSON_ArrayForEach(path, get(doc, "paths"))
    {
        for (size_t m = 0; m < N_METHODS; m++) {
            const cJSON *op = get(path, methods[m]);
            EXPECT(!op || is_route(op), "%s %s is no route", methods[m], path->string);
        }
    }
}

static bool has_path_parameter(const cJSON *list, const char *name, size_t len)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const cJSON *p = followed(item);
        const char *own = json_get_str(p, "name");
        if (own && strlen(own) == len && memcmp(own, name, len) == 0 &&
            strcmp(json_get_str(p, "in"), "path") == 0 && cJSON_IsTrue(get(p, "required")))
            return true;
    }
    return false;
}

static void every_parameter_of_a_path_is_described(void)
{
    const cJSON *path;
    cJSON_ArrayForEach(path, get(doc, "paths"))
    {
        int n = 0;
        for (const char *p = path->string; (p = strchr(p, '{')); n++) {
            p++;
            EXPECT(has_path_parameter(get(path, "parameters"), p, strcspn(p, "}")), "%s", path->string);
        }
        EXPECT(cJSON_GetArraySize(get(path, "parameters")) == n, "%s has other parameters", path->string);
    }
}

static void every_operation_has_a_name_of_its_own(void)
{
    const char *seen[256];
    size_t n = 0;
    for (size_t i = 0; i < route_table_len; i++) {
        const char *id = json_get_str(operation_of(&route_table[i]), "operationId");
        ASSERT_TRUE(id && n < 256);
        for (size_t k = 0; k < n; k++)
            EXPECT(strcmp(seen[k], id) != 0, "operationId %s is there twice", id);
        seen[n++] = id;
    }
}

static void the_version_is_the_programs(void)
{
    ASSERT_STR(json_get_str(get(doc, "info"), "version"), ARP_VERSION);
}

/* --- references and schemas ------------------------------------------------------------------------------------------------------ */

static unsigned check_refs(const cJSON *at)
{
    unsigned n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, at)
    {
        if (item->string && strcmp(item->string, "$ref") == 0 && cJSON_IsString(item)) {
            EXPECT(resolve(item->valuestring), "%s leads nowhere", item->valuestring);
            n++;
        }
        n += check_refs(item);
    }
    return n;
}

static void every_reference_leads_somewhere(void)
{
    ASSERT_TRUE(check_refs(doc) > 100);
    ASSERT_TRUE(resolve("#/components/schemas/NoSuch") == NULL);
}

static void every_component_is_used(void)
{
    static const char *const kinds[] = {"schemas", "responses", "parameters", "requestBodies"};
    char *text = cJSON_PrintUnformatted(doc);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const cJSON *item;
        cJSON_ArrayForEach(item, get(get(doc, "components"), kinds[i]))
        {
            char ref[256];
            snprintf(ref, sizeof(ref), "\"#/components/%s/%s\"", kinds[i], item->string);
            EXPECT(strstr(text, ref), "%s is used nowhere", ref);
        }
    }
    free(text);
}

static bool is_object_type(const cJSON *type)
{
    return cJSON_IsArray(type) ? holds(type, "object")
                               : cJSON_IsString(type) && strcmp(type->valuestring, "object") == 0;
}

/* A schema says of what kind its values are, and of an object which members it has. closed: it is of a request, whose unknown members the
 * server refuses. narrows: it stands beside a schema that says the kind. */
static void check_schema(const cJSON *s, const char *where, bool closed, bool narrows)
{
    static const char *const lists[] = {"allOf", "anyOf", "oneOf", "prefixItems"};
    static const char *const kinds[] = {"type", "enum", "const", "$ref", "allOf", "oneOf", "anyOf"};
    const cJSON *item;
    bool says = narrows;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        says |= get(s, kinds[i]) != NULL;
    EXPECT(says, "%s: a schema allows everything", where);
    if (closed && get(s, "$ref"))
        check_schema(followed(s), get(s, "$ref")->valuestring, closed, false);
    if (is_object_type(get(s, "type"))) {
        EXPECT(
            get(s, "properties") || get(s, "additionalProperties"), "%s: an object without members", where);
        EXPECT(!closed || cJSON_IsFalse(get(s, "additionalProperties")) ||
                   cJSON_IsObject(get(s, "additionalProperties")),
            "%s: an object of a request is open", where);
    }
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        bool beside = i == 0 || get(s, "type");
        cJSON_ArrayForEach(item, get(s, lists[i])) check_schema(item, where, closed, beside);
    }
    cJSON_ArrayForEach(item, get(s, "properties")) check_schema(item, item->string, closed, narrows);
    if (get(s, "items"))
        check_schema(get(s, "items"), where, closed, false);
    if (cJSON_IsObject(get(s, "additionalProperties")))
        check_schema(get(s, "additionalProperties"), where, closed, false);
}

static void check_media(const cJSON *content, const char *where, bool closed)
{
    const cJSON *media;
    cJSON_ArrayForEach(media, content)
    {
        if (strcmp(media->string, "application/zip") == 0)
            continue; /* bytes: 3.1 has no schema for them */
        EXPECT(get(media, "schema"), "%s: %s has no schema", where, media->string);
        check_schema(get(media, "schema"), where, closed, false);
    }
}

static void no_schema_allows_everything(void)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, get(get(doc, "components"), "schemas"))
        check_schema(item, item->string, false, get(item, "if") != NULL);
    cJSON_ArrayForEach(item, get(get(doc, "components"), "responses"))
        check_media(get(item, "content"), item->string, false);
    for (size_t i = 0; i < route_table_len; i++) {
        const cJSON *op = operation_of(&route_table[i]);
        const char *where = route_table[i].pattern;
        check_media(get(followed(get(op, "requestBody")), "content"), where, true);
        cJSON_ArrayForEach(item, get(op, "responses")) check_media(get(item, "content"), where, false);
    }
}

/* --- errors ---------------------------------------------------------------------------------------------------------------------- */

/* HTTP status of an error code, 0 when the table has none. */
static int status_of(const char *code)
{
    for (int i = 1; i <= ARP_E_COUNT; i++) {
        if (strcmp(arp_err_public_code(-i), code) == 0)
            return arp_err_http_status(-i);
    }
    return 0;
}

static void the_error_schema_lists_the_table(void)
{
    const cJSON *codes =
        get(get(get(get(get(resolve("#/components/schemas/Error"), "properties"), "error"), "properties"),
                "code"),
            "enum");
    const cJSON *code;
    cJSON_ArrayForEach(code, codes)
        EXPECT(status_of(code->valuestring) != 0, "%s is no error code", code->valuestring);
    for (int i = 1; i <= ARP_E_COUNT; i++)
        EXPECT(holds(codes, arp_err_public_code(-i)), "%s is not described", arp_err_public_code(-i));
    ASSERT_INT(cJSON_GetArraySize(codes), ARP_E_COUNT);
}

/* Every list of codes below at: each is a code with that status. Returns how many there were. */
static unsigned check_codes(const cJSON *at, const char *where, int status)
{
    unsigned n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, at)
    {
        if (item->string && strcmp(item->string, "code") == 0 && cJSON_IsArray(get(item, "enum"))) {
            const cJSON *code;
            cJSON_ArrayForEach(code, get(item, "enum"))
            {
                EXPECT(status_of(code->valuestring) == status, "%s: %s is not answered with %d", where,
                    code->valuestring, status);
                n++;
            }
            continue;
        }
        n += check_codes(item, where, status);
    }
    return n;
}

static void errors_are_answered_with_their_status(void)
{
    for (size_t i = 0; i < route_table_len; i++) {
        const cJSON *response;
        cJSON_ArrayForEach(response, get(operation_of(&route_table[i]), "responses"))
        {
            int status = atoi(response->string);
            const cJSON *content = get(followed(response), "content");
            EXPECT(status >= 200 && status <= 503, "%s: %s", route_table[i].pattern, response->string);
            if (status >= 400 && content)
                EXPECT(check_codes(content, route_table[i].pattern, status) > 0, "%s %s names no code",
                    route_table[i].pattern, response->string);
        }
    }
}

TEST_SUITE_WITH(openapi_test, set_up, tear_down, TEST(every_route_is_described_with_its_scope_and_body),
    TEST(every_described_operation_is_a_route), TEST(every_parameter_of_a_path_is_described),
    TEST(every_operation_has_a_name_of_its_own), TEST(the_version_is_the_programs),
    TEST(every_reference_leads_somewhere), TEST(every_component_is_used), TEST(no_schema_allows_everything),
    TEST(the_error_schema_lists_the_table), TEST(errors_are_answered_with_their_status))
