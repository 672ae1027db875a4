/*
 * Between arp-sh and the agent's shim server: messages of one SOCK_SEQPACKET connection per command, both on the same machine, so in its own
 * byte order. Needs nothing but libc: arp-sh is a static program that must run in any image.
 *
 *   arp-sh                                      server
 *   HELLO argc, arguments                  -->  who it is comes from the kernel
 *                                          <--  GRANT with four descriptors (enum sh_fd), or REFUSE with a text
 *   STARTED, by the child that becomes the
 *   shell, before it does                  -->  its pid comes with the message, from the kernel
 *   ENDED status, what it used             -->
 *                                          <--  end of file on both streams: all that the shell printed was passed on and is on record
 * The shell prints into pipes of the agent. What the agent has read it hands back through two more, and arp-sh writes it to its own stdout and
 * stderr: so the agent never touches a descriptor of the workload, and waits for none.
 */
#ifndef ARP_AGENT_SH_PROTOCOL_H
#define ARP_AGENT_SH_PROTOCOL_H

#include <stdint.h>

/* Where the socket is. The folder is root's, on a tmpfs: only the agent can put a socket there. */
#define SH_FOLDER "/run/arp"
#define SH_SOCKET "sh"
/* Names another socket, for tests. Who sets it in a run evades the record no further than by starting /bin/sh himself. */
#define SH_ENV "ARP_SH_SOCKET"

/* Equal to LIMIT_ARGV_BYTES and LIMIT_ARGV_ITEMS (shared/limits.h): what a line of the command log has room for. */
#define SH_ARGV_BYTES (64u << 10)
#define SH_ARGV_ITEMS 1024u
#define SH_TEXT_MAX   512u

/* "arp-sh" and a version: both sides come from one build, but a volume may hold a program of an older one. */
#define SH_MAGIC 0x61736801u

enum sh_type { SH_HELLO = 1, SH_GRANT, SH_REFUSE, SH_STARTED, SH_ENDED };

/* First in every message. size: bytes behind it. HELLO: count arguments, each with its NUL. REFUSE: a text without NUL. */
struct sh_head {
    uint32_t magic;
    uint32_t type;
    uint32_t count;
    uint32_t size;
};
#define SH_MESSAGE_MAX (sizeof(struct sh_head) + SH_ARGV_BYTES)

/* ENDED: as wait4(2) told it. Times in microseconds, memory in KiB. */
struct sh_end {
    int32_t status;
    int32_t reserved; /* 0 */
    int64_t user_us, system_us, max_rss_kb, minor_faults, major_faults, voluntary_switches,
        involuntary_switches;
};

/* The descriptors of GRANT, in this order. */
enum sh_fd {
    SH_SHELL_OUT, /* write ends, for the shell */
    SH_SHELL_ERR,
    SH_BACK_OUT, /* read ends, for arp-sh */
    SH_BACK_ERR,
    SH_FDS
};

/* Exit code of arp-sh when it did not run the command, as of a program that can't be executed. */
#define SH_EXIT_REFUSED 126

#endif
