/*
 * Scenario: what the scripted provider answers, from a JSON file. Steps stand in order; a request takes the first step that still may be used
 * and whose match fits. Read only after loading, but for the counts of use (under a lock).
 *
 *   {"steps":[{
 *     "match":  {"dialect":"responses","path":"/v1/responses","call":0,"contains":"text","lacks":"text"},   all optional
 *     "times":  1,                                  how often the step may be used (0: always)
 *     "answer": {
 *       "items":[{"text":"…"},                      an assistant's words
 *                {"call":"exec_command","id":"call_1","arguments":{…}},      a tool call; arguments as text: as they stand (malformed ones)
 *                {"call":"apply_patch","id":"call_2","input":"…"}],          a free-form one (responses; elsewhere {"input":"…"})
 *       "usage": {"input":100,"cachedInput":10,"output":20,"reasoning":5},   cached is a part of input, reasoning of output
 *       "finish":"length",                          the answer breaks off at the provider's own limit
 *       "status":429, "headers":{"Retry-After":"1"}, "body":{…} or "text"    in place of a rendered answer
 *       "pauseMs":0,                                before the head is sent
 *       "eventPauseMs":0,                           between the events of a stream
 *       "deltaBytes":8,                             of one delta of text or arguments
 *       "fault": {"cutAfter":k} | {"drop":true} | {"hang":true} | {"hangAfter":k} | {"slowBytes":n,"slowMs":t} | {"garbage":n} |
 *                {"huge":n} | {"streamError":"words"} }}]}
 */
#ifndef ARP_TESTS_PROVIDER_SCENARIO_H
#define ARP_TESTS_PROVIDER_SCENARIO_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

enum dialect { DIALECT_RESPONSES, DIALECT_CHAT, DIALECT_MESSAGES, DIALECT_GEMINI, DIALECT_NONE };

struct scenario;

/* A request as matching sees it. Borrowed. */
struct request {
    unsigned call; /* number of the request, from 0 */
    const char *path;
    const char *body; /* NUL-terminated */
    enum dialect dialect;
    bool streamed;
};

/* Which dialect a path belongs to; *ret_streamed: Gemini's path says so, else the body's "stream". */
enum dialect dialect_of(const char *path, const char *body, bool *ret_streamed);

/* NULL: the file is not a scenario (what is wrong is said on stderr). */
struct scenario *scenario_read(const char *path);
/* The answer of the step that the request takes, NULL when none fits. *ret_step: its number. Thread-safe. */
const cJSON *scenario_take(struct scenario *s, const struct request *r, unsigned *ret_step);

/* A number / text / truth of an answer, with what it is when it is not given. */
long number_of(const cJSON *object, const char *name, long otherwise);
const char *text_of(const cJSON *object, const char *name, const char *otherwise);

#endif
