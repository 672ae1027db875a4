/*
 * Who runs as whom in a workspace container, and the limits every command gets. Constants only.
 *   uid 0     the agent: PID 1, with CAP_SETUID, SETGID, KILL, CHOWN and DAC_READ_SEARCH and nothing else
 *   uid 1000  commands: no capability, no_new_privs, seccomp
 *   uid 1001  the git snapshot helper: only CAP_DAC_READ_SEARCH, so that it reads every file and writes none
 */
#ifndef ARP_AGENT_SANDBOX_H
#define ARP_AGENT_SANDBOX_H

#define SANDBOX_UID  1000u
#define SANDBOX_GID  1000u
#define SNAPSHOT_UID 1001u
#define SNAPSHOT_GID 1001u

/* One file a command may write: above any build artifact we know, and a bound on what hashing one sparse file can cost. */
#define SANDBOX_FSIZE (8ull << 30)
/* Open files of one process: servers and linkers want some thousands; the kernel's own default ceiling. */
#define SANDBOX_NOFILE 4096u

/* Added to a command's out-of-memory score, in thousandths of the container's memory; the agent's stays 0. A command may lower its
 * own again (only CAP_SYS_RESOURCE could forbid that): this guards against accidents, not against intent. */
#define SANDBOX_OOM_SCORE "500"

/* Between SIGTERM to the command's process group and SIGKILL to everything of its uid. */
#define SANDBOX_TIMEOUT_GRACE_MS 2000
#define SANDBOX_CANCEL_GRACE_MS  500

#endif
