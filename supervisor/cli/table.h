/* table.h: aligned columns for people. Cells are given row by row; "-" stands for an empty one. */
#ifndef VMSIG_CLI_TABLE_H
#define VMSIG_CLI_TABLE_H

#include <stdint.h>
#include <stdio.h>

typedef struct vmsig_table vmsig_table;

/* headings: NULL-terminated; one that begins with '>' is aligned to the right. NULL: out of memory. */
vmsig_table *vmsig_table_new(const char *const *headings);
/* The next cell. A failed allocation shows when printing. */
void vmsig_table_cell(vmsig_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A time that passed, "4d 3h" or "2.5s": the two largest units. */
void vmsig_table_span(vmsig_table *t, uint64_t ms);
/* A latency, "850 ns" or "12 ms"; 0 is an empty cell. */
void vmsig_table_latency(vmsig_table *t, uint64_t ns);
/* Prints and frees: 0 or -ENOMEM. t may be NULL. */
int vmsig_table_print(vmsig_table *t, FILE *to);

#endif
