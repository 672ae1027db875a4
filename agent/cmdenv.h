/*
 * Command environment: the whole environment every command starts with, and nothing else of the agent's own.
 * Made once at start, immutable afterwards, shared by all threads.
 */
#ifndef ARP_AGENT_CMDENV_H
#define ARP_AGENT_CMDENV_H

#include "shared/err.h"
#include "shared/json.h"

#define CMDENV_VARS 7

struct cmdenv {
    char path[4096];               /* value of PATH: the image's own when it is sane, else the usual one */
    const char *home;              /* value of HOME: static text */
    const char *vars[CMDENV_VARS]; /* "NAME=value", NULL-terminated */
    char text[CMDENV_VARS][4112];
};

/* image_path: PATH as the agent got it, or NULL; relative and empty members are dropped. */
void cmdenv_init(struct cmdenv *e, const char *image_path);
/* Write the object {"HOME":…,…} as a value. */
void cmdenv_put(const struct cmdenv *e, struct json *j);

#endif
