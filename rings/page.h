/* page.h: what board, epoch, fence and gauges have in common: a page written by one process, read by others, that
 * begins with a magic number (u64, stored last) and the layout (u32).
 */
#ifndef VMSIG_PAGE_H
#define VMSIG_PAGE_H

#include <stddef.h>
#include <stdint.h>

/* The writer's: maps bytes of fd, zeroes them. *out is NULL on error. 0 or -errno; -EMSGSIZE: the memfd is smaller. */
int vmsig_page_create(int fd, size_t bytes, void **out);
/* The writer's last step: what it filled in becomes valid. */
void vmsig_page_commit(void *page, uint64_t magic);
/* A reader's: checks seals and size, maps, checks magic and layout. -EPERM, -EMSGSIZE, -EPROTO. */
int vmsig_page_open(int fd, size_t bytes, uint64_t magic, const void **out);

#endif
