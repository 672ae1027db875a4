/*
 * The built-in engine's own words: agent/builtin/prompt.md and agent/builtin/tools.json, in the program by agent/builtin/embed.py. Each ends in NUL,
 * which its length does not count.
 */
#ifndef ARP_AGENT_BUILTIN_TEXT_H
#define ARP_AGENT_BUILTIN_TEXT_H

#include <stddef.h>

/* "{repo}" stands for the repository's path. */
extern const char builtin_prompt[];
extern const size_t builtin_prompt_len;
/* JSON: [{"name","description","parameters"}…] */
extern const char builtin_tools[];
extern const size_t builtin_tools_len;

#endif
