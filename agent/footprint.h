/*
 * Footprint: give memory back that only the start needed. Libraries run their start-up code once and keep its pages resident for ever; a
 * workspace container idles most of its life, so that is paid per workspace.
 */
#ifndef ARP_AGENT_FOOTPRINT_H
#define ARP_AGENT_FOOTPRINT_H

/* Drop resident code pages (they come back from the page cache when they are executed again) and free heap. Safe at any time, from any
 * thread: code mappings hold nothing but the file's bytes. Best effort, says nothing about failures. */
void footprint_trim(void);

#endif
