/* table.h: aligned columns for people. Cells are given row by row; "-" stands for an empty one. */
#ifndef VMSIG_CLI_TABLE_H
#define VMSIG_CLI_TABLE_H

#include <stdio.h>

typedef struct vmsig_table vmsig_table;

/* headings: NULL-terminated; one that begins with '>' is aligned to the right. NULL: out of memory. */
vmsig_table *vmsig_table_new(const char *const *headings);
/* The next cell. A failed allocation shows when printing. */
void vmsig_table_cell(vmsig_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints and frees: 0 or -ENOMEM. t may be NULL. */
int vmsig_table_print(vmsig_table *t, FILE *to);

#endif
