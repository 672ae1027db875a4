/* collect.c against a fake agent: what an honest one leaves, and what a hostile one tries. */
#include "orchestrator/evidence/collect.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/orchestrator/evidence/collect_world.h"

static void honest_run_is_complete(void)
{
    char blob[96] = "blobs/sha256-";
    make_world();
    sha256_hex_of("full output", 11, blob + strlen(blob));
    serve_honestly_but("");
    serve(blob, "full output", 11);
    ASSERT_INT(collect_now(), 0);
    ASSERT_STR(w.facts.problems[0], "");
    ASSERT_TRUE(w.facts.complete && w.facts.has_command_log && w.facts.has_process_log &&
                w.facts.has_outputs_manifest && w.facts.has_diff && w.facts.volume_match);
    ASSERT_INT(w.facts.command_log.next_seq, 2);
    ASSERT_INT(w.facts.processes.next_seq, 4);
    ASSERT_INT(staged("processes.jsonl"), w.processes.len);
    ASSERT_TRUE(w.facts.has_diff_stats);
    ASSERT_INT(w.facts.deletions, 3);
    ASSERT_STR(w.facts.env_json, w.env);
    ASSERT_INT(staged("command_log.jsonl"), w.log.len);
    ASSERT_INT(staged("events.jsonl"), w.events.len);
    ASSERT_INT(staged("diff.patch"), strlen(w.diff));
    ASSERT_INT(staged(blob), 11);
    ASSERT_INT(staged("env.json"), -1);
    ASSERT_INT(evidence_put(w.root, RUN, "metadata.json", "{}", 2, &err), 0);
    ASSERT_INT(evidence_put(w.root, RUN, "metadata.json", "{ }", 3, &err), 0);
    ASSERT_INT(staged("metadata.json"), 3);
    ASSERT_INT(evidence_put(w.root, RUN, "events.jsonl", "", 0, &err), ARP_E_INVALID);
    ASSERT_INT(evidence_put(w.root, "..", "metadata.json", "", 0, &err), ARP_E_INVALID);
    ASSERT_INT(evidence_put(w.root, OTHER, "metadata.json", "", 0, &err), ARP_E_NOT_FOUND);
    struct evidence_facts again;
    ASSERT_INT(evidence_collect_nothing(RUN, &w.expect, w.root, "again", &again, &err), ARP_E_CONFLICT);
    ASSERT_INT(staged("command_log.jsonl"), w.log.len);
    end_world();
}

static void missing_file_is_empty_and_named(void)
{
    static const char *const names[] = {
        "command_log.jsonl", "outputs.json", "env.json", "diff.patch", "events.jsonl", "processes.jsonl"};
    for (size_t i = 0; i < N(names); i++) {
        make_world();
        serve_honestly_but(names[i]);
        ASSERT_INT(collect_now(), 0);
        ASSERT_TRUE(!w.facts.complete);
        ASSERT_INT(w.facts.problem_count, 1);
        ASSERT_CONTAINS(w.facts.problems[0], names[i]);
        ASSERT_INT(w.facts.has_command_log, i != 0);
        ASSERT_INT(w.facts.has_outputs_manifest, i != 1);
        ASSERT_INT(w.facts.env_json != NULL, i != 2);
        ASSERT_INT(w.facts.has_diff, i != 3);
        ASSERT_INT(w.facts.volume_match, i != 4);
        ASSERT_INT(w.facts.has_process_log, i != 5);
        ASSERT_INT(staged("events.jsonl"), w.events.len);
        if (i == 0)
            ASSERT_INT(staged("command_log.jsonl"), 0);
        if (i == 5) /* an agent of before this file was recorded */
            ASSERT_STR(w.facts.problems[0], "processes.jsonl: missing");
        if (i == 5)
            ASSERT_INT(staged("processes.jsonl"), 0);
        end_world();
    }
}

/* What an agent says that lies about one file, and what the problem must say. */
static void expect_refused_log(const char *bytes, size_t len, const char *because)
{
    serve_honestly_but("command_log.jsonl");
    serve("command_log.jsonl", bytes, len);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_command_log && !w.facts.complete);
    if (!has_problem(because))
        ASSERT_STR(w.facts.problems[0], because);
    ASSERT_INT(staged("command_log.jsonl"), 0);
    ASSERT_INT(staged_blob(bytes, len), len); /* the lie is evidence too */
    end_world();
}

static void changed_log_is_not_what_was_streamed(void)
{
    make_world();
    struct buf bad = {.max = 1u << 20};
    buf_append(&bad, w.log.data, w.log.len);
    bad.data[20] ^= 1;
    expect_refused_log(bad.data, bad.len, "digest was streamed");
    buf_done(&bad);
}

static void broken_chain_is_refused_when_no_digest_was_streamed(void)
{
    struct buf bad = {.max = 1u << 20};
    make_world(); /* second line twice: wrong seq */
    w.expect.command_log_sha256 = NULL;
    const char *second = strchr(w.log.data, '\n') + 1;
    buf_append(&bad, w.log.data, w.log.len);
    buf_append_str(&bad, second);
    expect_refused_log(bad.data, bad.len, "line 2");
    buf_reset(&bad);

    make_world(); /* last line cut off */
    w.expect.command_log_sha256 = NULL;
    buf_append(&bad, w.log.data, (size_t)(strchr(w.log.data, '\n') + 1 - w.log.data));
    expect_refused_log(bad.data, bad.len, "1 lines, but 2 commands");
    buf_reset(&bad);

    make_world(); /* half a line */
    w.expect.command_log_sha256 = NULL;
    buf_append(&bad, w.log.data, w.log.len - 1);
    expect_refused_log(bad.data, bad.len, "not finished");
    buf_reset(&bad);

    make_world(); /* not JSON */
    w.expect.command_log_sha256 = NULL;
    buf_append_str(&bad, "rm -rf /\n");
    expect_refused_log(bad.data, bad.len, "line 0");
    buf_done(&bad);
}

static void rebuilt_chain_does_not_match_streamed_heads(void)
{
    struct chain chain;
    struct buf forged = {.max = 1u << 20};
    make_world();
    chain_init(&chain, RUN, "command_log.jsonl");
    add_log_line(&forged, &chain, "false");
    add_log_line(&forged, &chain, "false");
    w.expect.command_log_sha256 = NULL;
    expect_refused_log(forged.data, forged.len, "whose hash was streamed");
    buf_done(&forged);
}

static void expect_refused_processes(const char *bytes, size_t len, const char *because)
{
    serve_honestly_but("processes.jsonl");
    serve("processes.jsonl", bytes, len);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_process_log && w.facts.has_command_log && !w.facts.complete);
    if (!has_problem(because))
        ASSERT_STR(w.facts.problems[0], because);
    ASSERT_INT(staged("processes.jsonl"), 0);
    ASSERT_INT(staged_blob(bytes, len), len);
    end_world();
}

static void changed_process_log_is_set_aside(void)
{
    struct buf bad = {.max = 1u << 20};
    make_world();
    buf_append(&bad, w.processes.data, w.processes.len);
    bad.data[bad.len / 2] ^= 1;
    expect_refused_processes(bad.data, bad.len, "digest was streamed");
    buf_reset(&bad);

    make_world(); /* the agent streams the digest of what it has: the heads tell */
    struct process_line other = lines[3];
    struct chain chain;
    other.signal = "SIGTERM";
    chain_init(&chain, RUN, "processes.jsonl");
    for (size_t i = 0; i < 4; i++)
        process_line_put(&bad, &chain, TS, i < 3 ? &lines[i] : &other);
    sha256_hex_of(bad.data, bad.len, w.processes_sha);
    expect_refused_processes(bad.data, bad.len, "line 3 is not the one whose hash was streamed");
    buf_done(&bad);
}

static void claim_over_the_process_limit_is_not_fetched(void)
{
    make_world();
    serve_honestly_but("processes.jsonl");
    serve_as("processes.jsonl", "x", 1, LIMIT_PROCESS_BYTES + 1, w.processes_sha)->mode = FAKE_ENDLESS;
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_process_log && !w.facts.complete);
    ASSERT_TRUE(has_problem("processes.jsonl: claims 16777217 bytes, limit 16777216"));
    end_world();
}

static void log_of_a_lost_agent_may_be_one_ahead(void)
{
    make_world();
    w.expect.command_log_sha256 = NULL;
    w.expect.processes_sha256 = NULL;
    /* Up to the end of the first command: four lines. */
    w.expect.events_len =
        (size_t)((char *)memmem(w.events.data, w.events.len, "\"commandId\":1", 13) - w.events.data);
    while (w.events.data[w.expect.events_len - 1] != '\n')
        w.expect.events_len--;
    serve_honestly_but("");
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(w.facts.has_command_log && !w.facts.volume_match && !w.facts.complete);
    ASSERT_INT(w.facts.command_log.next_seq, 2);
    ASSERT_TRUE(w.facts.has_process_log);
    ASSERT_INT(w.facts.processes.next_seq, 4);
    ASSERT_TRUE(has_problem("goes on after line 4"));
    ASSERT_INT(staged("events.jsonl"), w.expect.events_len);
    ASSERT_INT(staged_blob(w.events.data, w.events.len), w.events.len);
    end_world();
}

static void bad_json_and_foreign_runs_are_refused(void)
{
    static const char *const outputs[] = {
        "{\"runId\":\"" OTHER "\",\"artifacts\":[]}",
        "{\"artifacts\":[]}",
        "{\"runId\":\"" RUN "\"}",
        "{\"runId\":\"" RUN
        "\",\"artifacts\":[],\"diffSummary\":{\"filesChanged\":-1,\"insertions\":0,\"deletions\":0}}",
        "{\"runId\":\"" RUN "\",\"artifacts\":[]}}",
        "not json",
        "[]",
    };
    for (size_t i = 0; i < N(outputs); i++) {
        make_world();
        w.expect.outputs_sha256 = NULL;
        serve_honestly_but("outputs.json");
        serve("outputs.json", outputs[i], strlen(outputs[i]));
        ASSERT_INT(collect_now(), 0);
        ASSERT_TRUE(!w.facts.has_outputs_manifest && !w.facts.complete && !w.facts.has_diff_stats);
        ASSERT_INT(staged("outputs.json"), 0);
        end_world();
    }
    make_world();
    w.expect.env_sha256 = NULL;
    serve_honestly_but("env.json");
    serve("env.json", "{\"runId\":\"" OTHER "\"}", 48);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(w.facts.env_json == NULL && !w.facts.complete);
    end_world();
}

static void huge_claims_are_not_fetched(void)
{
    make_world();
    serve_honestly_but("diff.patch");
    serve_as("diff.patch", "x", 1, 10000000000ull, w.outputs_sha)->mode = FAKE_ENDLESS;
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_diff && !w.facts.complete);
    ASSERT_TRUE(has_problem("diff.patch: claims 10000000000 bytes"));
    ASSERT_INT(staged("diff.patch"), 0);
    end_world();
}

static void file_longer_than_claimed_is_cut_off(void)
{
    make_world();
    serve_honestly_but("diff.patch");
    serve_as("diff.patch", "xxxxxxxxxxxxxxxx", 16, 1000, w.outputs_sha)->mode = FAKE_ENDLESS;
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_diff);
    ASSERT_TRUE(has_problem("over 1000 bytes"));
    end_world();
}

static void connection_cut_inside_a_file_is_a_problem(void)
{
    make_world();
    serve_honestly_but("outputs.json");
    serve_as("outputs.json", w.outputs, 10, strlen(w.outputs), w.outputs_sha)->mode = FAKE_CUT;
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_outputs_manifest && w.facts.has_command_log && w.facts.volume_match);
    ASSERT_INT(w.facts.problem_count, 1);
    end_world();
}

static void blob_must_be_what_its_name_says(void)
{
    char blob[96] = "blobs/sha256-";
    make_world();
    sha256_hex_of("full output", 11, blob + strlen(blob));
    serve_honestly_but("");
    serve(blob, "another one", 11);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.complete);
    ASSERT_INT(staged(blob), -1);
    ASSERT_TRUE(has_problem("another digest"));
    end_world();
}

static void listed_names_that_lead_out_spoil_the_list(void)
{
    make_world();
    serve_honestly_but("");
    serve("../../../etc/cron.d/x", "x", 1);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.has_command_log && !w.facts.complete);
    ASSERT_CONTAINS(w.facts.problems[0], "evidence list");
    ASSERT_INT(staged("command_log.jsonl"), 0);
    ASSERT_INT(staged("events.jsonl"), w.events.len);
    end_world();
}

static void tampered_volume_events_are_kept_beside_ours(void)
{
    make_world();
    struct buf bad = {.max = 1u << 20};
    buf_append(&bad, w.events.data, w.events.len);
    bad.data[bad.len - 3] ^= 1;
    serve_honestly_but("events.jsonl");
    serve("events.jsonl", bad.data, bad.len);
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(!w.facts.volume_match && !w.facts.complete && w.facts.has_command_log);
    ASSERT_TRUE(has_problem("differs from line 7 on"));
    ASSERT_INT(staged("events.jsonl"), w.events.len);
    ASSERT_INT(staged_blob(bad.data, bad.len), bad.len);
    end_world();
    buf_done(&bad);
}

static void without_an_agent_the_stream_is_all_there_is(void)
{
    make_world();
    ASSERT_INT(evidence_collect_nothing(RUN, &w.expect, w.root, "agent lost", &w.facts, &err), 0);
    ASSERT_TRUE(!w.facts.complete && !w.facts.has_command_log);
    ASSERT_STR(w.facts.problems[0], "agent lost");
    ASSERT_INT(staged("command_log.jsonl"), 0);
    ASSERT_INT(staged("processes.jsonl"), 0);
    ASSERT_INT(staged("outputs.json"), 0);
    ASSERT_INT(staged("diff.patch"), 0);
    ASSERT_INT(staged("events.jsonl"), w.events.len);
    end_world();

    make_world(); /* the address answers no more */
    strcpy(w.target.address, "127.0.0.1:1");
    ASSERT_INT(evidence_collect(&w.target, RUN, &w.expect, w.root, &w.facts, &err), 0);
    ASSERT_CONTAINS(w.facts.problems[0], "evidence list");
    end_world();
}

static void half_made_directory_is_made_again(void)
{
    char path[256];
    make_world();
    snprintf(path, sizeof(path), "%s/.tmp-" RUN "/blobs", w.root);
    ASSERT_INT(dir_make(path, 0700, &err), 0);
    snprintf(path, sizeof(path), "%s/.tmp-" RUN "/blobs/x", w.root);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    snprintf(path, sizeof(path), "%s/.tmp-" RUN "/.incoming", w.root);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    serve_honestly_but("");
    ASSERT_INT(collect_now(), 0);
    ASSERT_TRUE(w.facts.complete);
    ASSERT_INT(staged(".incoming"), -1);
    ASSERT_INT(staged("blobs/x"), -1);
    end_world();
}

static void bad_run_ids_touch_nothing(void)
{
    make_world();
    ASSERT_INT(evidence_collect_nothing("../../x", &w.expect, w.root, "", &w.facts, &err), ARP_E_INVALID);
    ASSERT_INT(evidence_discard(w.root, "..", &err), ARP_E_INVALID);
    ASSERT_INT(evidence_discard(w.root, OTHER, &err), 0);
    end_world();
}

TEST_SUITE(collect_test, TEST(honest_run_is_complete), TEST(missing_file_is_empty_and_named),
    TEST(changed_log_is_not_what_was_streamed), TEST(broken_chain_is_refused_when_no_digest_was_streamed),
    TEST(rebuilt_chain_does_not_match_streamed_heads), TEST(changed_process_log_is_set_aside),
    TEST(claim_over_the_process_limit_is_not_fetched), TEST(log_of_a_lost_agent_may_be_one_ahead),
    TEST(bad_json_and_foreign_runs_are_refused), TEST(huge_claims_are_not_fetched),
    TEST(file_longer_than_claimed_is_cut_off), TEST(connection_cut_inside_a_file_is_a_problem),
    TEST(blob_must_be_what_its_name_says), TEST(listed_names_that_lead_out_spoil_the_list),
    TEST(tampered_volume_events_are_kept_beside_ours), TEST(without_an_agent_the_stream_is_all_there_is),
    TEST(half_made_directory_is_made_again), TEST(bad_run_ids_touch_nothing))
