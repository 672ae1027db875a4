/*
 * The snapshot helper process ("arp-agent snapshot ROOT") and the one that makes an empty repository ("arp-agent init-repo ROOT").
 * Both run after exec with reduced rights; neither sees the agent's memory, token or descriptors.
 *
 * Protocol of the snapshot helper, agent -> helper on standard input, one byte each: 'S' take a snapshot, 'D' diff first against last;
 * end of file ends it. helper -> agent on standard output, frames: one type byte, four bytes big-endian length, payload.
 *   'S' the state as JSON (members: snapshot.h)     answers 'S'
 *   'P' the next bytes of the patch, any number     answers 'D', closed by
 *   'E' {"filesChanged","insertions","deletions","truncated"} or {"error"}
 */
#ifndef ARP_AGENT_SNAPSHOT_PROC_H
#define ARP_AGENT_SNAPSHOT_PROC_H

#define SNAPSHOT_FRAME_HEAD 5
/* Largest payload: one file's patch may be of two 64 MiB files in base85; the agent cuts at LIMIT_DIFF before that. */
#define SNAPSHOT_FRAME_MAX (1u << 20)
#define SNAPSHOT_STORE     ".arp"

/* Exit code of the process. root: absolute path of the workspace. */
int snapshot_proc_main(const char *root);
/* git init of root/repo: branch main, one empty commit, empty results/ and artifacts/. Runs as the workload's uid. */
int init_repo_main(const char *root);

#endif
