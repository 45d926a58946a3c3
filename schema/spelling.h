/* spelling.h: which of some names a misspelled word was probably meant to be. */
#ifndef VMSIG_SPELLING_H
#define VMSIG_SPELLING_H

#include <stddef.h>

/* How many letters must be changed, added or dropped to turn a into b; far more than any limit where one of them is
 * longer than 63 bytes. Levenshtein distance by rows (R. Wagner, M. Fischer, 1974). */
size_t vmsig_spelling_distance(const char *a, const char *b);

/* How far a name may be from `text` to be suggested for it: about half its letters, at most 3; of three letters two,
 * for that is what two in the wrong order count. */
size_t vmsig_spelling_limit(const char *text);

#endif
