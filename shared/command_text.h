/*
 * The text of a shell command as it ran, and the texts that it may have been asked for by: coding agents wrap what the model wrote. Reading rules
 * that whoever holds the two against one another needs (docs/formats/reconciliation.md). Pure functions on hostile text.
 */
#ifndef ARP_SHARED_COMMAND_TEXT_H
#define ARP_SHARED_COMMAND_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/err.h"
#include "shared/hash.h"

#define COMMAND_TEXTS_MAX 4

struct command_texts {
    size_t n;
    bool last_is_part; /* the last is of an eval: what stands around it ran too, and nobody asked for that */
    char v[COMMAND_TEXTS_MAX][SHA256_HEX_LEN + 1];
};

/* Is a word of a command the name of a shell, or a path to one? */
bool command_word_is_shell(const char *word, size_t len);
/* Is it an option behind which the shell's text comes: -c, -lc and the like, short ones with a c among them? */
bool command_word_is_shells_c(const char *word, size_t len);
/* SHA-256 of the text as it is, without white space around it, and of what stands inside `bash -lc WORD` (all of the text) and inside the
 * first `eval WORD`, each once. Errors: ARP_E_NOMEM. */
int command_text_digests(const char *text, struct command_texts *ret, struct arp_err *err);
/* Is it what a CLI runs by itself to learn about the shell it will use? Only by its look: a hidden command may look like that too. */
bool command_text_is_setup(const char *text);

#endif
