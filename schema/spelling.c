#include "schema/spelling.h"

#include <stdint.h>
#include <string.h>

#define WORD_MAX 63u

size_t vmsig_spelling_distance(const char *a, const char *b) {
    size_t row[WORD_MAX + 1], m = strlen(b);
    if (strlen(a) > WORD_MAX || m > WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t swap = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t best = row[j - 1] < row[j] ? row[j - 1] + 1 : row[j] + 1;
            row[j] = best < swap ? best : swap;
        }
    }
    return row[m];
}

size_t vmsig_spelling_limit(const char *text) {
    size_t half = (strlen(text) + 1) / 2;
    return half < 2 ? half : strlen(text) < 6 ? 2 : 3; /* more wrong letters are another word */
}
