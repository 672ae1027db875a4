/*
 * A tenant's containers and agents as a tester makes them, and whether a run was in the container that its record says: event, row,
 * metadata.json, the engine and what the run's own command printed are held against one another. Failures end the test.
 */
#ifndef ARP_TESTS_SUPPORT_CHOICE_H
#define ARP_TESTS_SUPPORT_CHOICE_H

#include "tests/support/stack.h"

/* Prints which image this is: the text of docker_image_mark, or "plain". As a list of commands. */
#define WHICH_IMAGE "[[\"sh\",\"-c\",\"cat /marker 2>/dev/null || echo plain\"]]"

/* Register a container of that image with these members beside (text that begins with a comma, or ""). */
void choice_register(const struct stack *s, const struct tenant *t, const char *name, const char *image,
    const char *members, char ret_id[40]);
void choice_delete(const struct stack *s, const struct tenant *t, const char *container_id);

struct choice {
    const char *agent;
    const char *source;
    const char *container; /* NULL: auto */
    const char *name;      /* NULL: auto */
    const char *image;
    const char *prints;
};
/* Of a run that has ended as succeeded, the last of its workspace. */
void choice_expect(const struct stack *s, const struct tenant *t, const char *run_id, const struct choice *c);
/* A column or expression of the run's row. Lives until the next pg_sql. */
const char *choice_run_column(const char *run_id, const char *expression);

#endif
