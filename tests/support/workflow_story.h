/*
 * A workflow run that has ended, as its rows tell it: four steps, of which two have runs with bundles from the real builder. Always the
 * same. One thread; aborts on trouble of the machine.
 */
#ifndef ARP_TESTS_SUPPORT_WORKFLOW_STORY_H
#define ARP_TESTS_SUPPORT_WORKFLOW_STORY_H

#include "orchestrator/bundle/workflow_bundle.h"
#include "tests/support/evidence_fixture.h"

#define STORY_WORKFLOW "0a1b2c3d-4e5f-4061-8273-8495a6b7c8d9"
#define STORY_OTHER    "1a1b2c3d-4e5f-4061-8273-8495a6b7c8d9"
#define STORY_STEPS    4

/* Steps: 0 "build" is run A of agent coder in a tenant's container and failed; 1 "test" is run B of the built-in agent and succeeded;
 * 2 "deploy" could not start; 3 "report" was skipped. */
struct workflow_story {
    struct workflow_run run;
    struct workflow_lines lines;
    char zip_a[PATH_MAX];
    char zip_b[PATH_MAX];
};

/* Build the bundles of the steps' runs run_a and run_b, and tell the workflow run id. */
void workflow_story_tell(
    struct fixture *f, const char *id, const char *run_a, const char *run_b, struct workflow_story *ret);
/* The bundle of step 0 could not be made. */
void workflow_story_lose_bundle(struct workflow_story *s);
/* Build its bundle. */
void workflow_story_build(struct fixture *f, const struct workflow_story *s, char ret[PATH_MAX]);
void workflow_story_done(struct workflow_story *s);

#define STORY_SALT "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

#endif
