/*
 * Who runs as whom in a workspace container, and the limits every command gets. Constants only.
 *   uid 0     the agent: PID 1, with CAP_SETUID, SETGID, KILL, CHOWN, DAC_READ_SEARCH and SETPCAP and nothing else
 *   uid 1000  commands: no capability, empty bounding set, no_new_privs, Landlock, seccomp
 *   uid 1002  the launcher of commands: the same sandbox; its effective uid is 1000
 *   uid 1001  the git snapshot helper: only CAP_DAC_READ_SEARCH, so that it reads every file and writes none
 */
#ifndef ARP_AGENT_SANDBOX_H
#define ARP_AGENT_SANDBOX_H

#define SANDBOX_UID  1000u
#define SANDBOX_GID  1000u
#define SNAPSHOT_UID 1001u
#define SNAPSHOT_GID 1001u
#define LAUNCHER_UID 1002u

/* One file a command may write: above any build artifact we know, and a bound on what hashing one sparse file can cost. */
#define SANDBOX_FSIZE (8ull << 30)
/* Open files of one process: servers and linkers want some thousands; the kernel's own default ceiling. */
#define SANDBOX_NOFILE 4096u

/* Added to a command's out-of-memory score, in thousandths of the container's memory; the agent's stays 0. Where the kernel has
 * Landlock, /proc is read-only for commands and they can't lower it again; elsewhere it guards against accidents, not against intent. */
#define SANDBOX_OOM_SCORE "500"

/* Between SIGTERM to the command's process group and SIGKILL to everything of its uid. */
#define SANDBOX_TIMEOUT_GRACE_MS 2000
#define SANDBOX_CANCEL_GRACE_MS  500

#endif
