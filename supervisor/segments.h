/* segments.h: the files of an audit log.
 *
 *   audit.log             the present segment        audit.log.key    the first key: what `vmsig audit verify` takes
 *   audit.log.000001 ...  those before, oldest first audit.log.seal   the key of the next checkpoint, the gateway's
 */
#ifndef VMSIG_SEGMENTS_H
#define VMSIG_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The number of a segment by its path, 0: it has none (the present one). */
uint32_t vmsig_segment_number(const char *path);
/* The paths of a log's former segments, oldest first: how many, or -errno. Free each, and the array. */
int vmsig_segments(const char *log, char ***out);
void vmsig_segments_free(char **list, int n);
/* log with an ending, in buf: 0, or -ENAMETOOLONG. */
int vmsig_segment_path(const char *log, uint32_t number, char *buf, size_t len);

#endif
