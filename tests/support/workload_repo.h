/*
 * A repository of the workload's in a folder of its own: of uid 1000 when the test is root, else of the test's own uid. One at a time.
 * base/repo is the repository, base/ is not the workload's.
 */
#ifndef ARP_TESTS_SUPPORT_WORKLOAD_REPO_H
#define ARP_TESTS_SUPPORT_WORKLOAD_REPO_H

#include "agent/repofile.h"

struct workload_repo {
    char base[64], path[80];
    struct repofiles files;
};

void workload_repo_make(struct workload_repo *r);
void workload_repo_drop(struct workload_repo *r);
/* A file of the workload's, and what one holds (NULL: it must not be there). */
void workload_repo_put(const struct workload_repo *r, const char *name, const char *text);
void workload_repo_holds(const struct workload_repo *r, const char *name, const char *want);
/* All that is in it, itself too: what was left behind shows. */
int workload_repo_count(const struct workload_repo *r);

#endif
