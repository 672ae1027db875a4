/*
 * A server from outside: what proc(5) tells of a process. Any thread.
 */
#ifndef ARP_BENCH_SUPPORT_PROC_H
#define ARP_BENCH_SUPPORT_PROC_H

#include <sys/types.h>

/* Resident memory, KiB; -1 when there is no such process. */
long proc_rss_kib(pid_t pid);
/* CPU time so far, user and kernel, seconds; 0 when there is no such process. */
double proc_cpu_s(pid_t pid);

#endif
