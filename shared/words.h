/*
 * Words and lists of them. Pure functions on borrowed C strings; NULL is no word.
 */
#ifndef ARP_SHARED_WORDS_H
#define ARP_SHARED_WORDS_H

#include <stdbool.h>
#include <stddef.h>

bool word_is_in(const char *s, const char *const *words, size_t n);
/* The same for an array. */
#define WORD_IS_IN(s, words) word_is_in(s, words, sizeof(words) / sizeof((words)[0]))
bool word_ends_with(const char *s, const char *tail);

#endif
