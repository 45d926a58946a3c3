#include "rings/gauges.h"

#include <errno.h>

#include "rings/atomics.h"
#include "rings/page.h"
#include "rings/shm.h"

/* More than an actor can have links. */
#define LINKS_MAX 4096u

#define SUB_BITS 3u /* 8 buckets to the octave */
#define SUBS     (1u << SUB_BITS)

static uint32_t bucket_of(uint64_t value) {
    if (value < SUBS)
        return (uint32_t)value;
    uint32_t octave = 63u - (uint32_t)__builtin_clzll(value);
    uint32_t b = (octave - SUB_BITS + 1) * SUBS + ((uint32_t)(value >> (octave - SUB_BITS)) & (SUBS - 1));
    return b < VMSIG_HIST_BUCKETS ? b : VMSIG_HIST_BUCKETS - 1;
}

static uint64_t upper_edge(uint32_t bucket) {
    if (bucket < SUBS)
        return bucket;
    uint32_t shift = bucket / SUBS - 1;
    return ((uint64_t)(SUBS + bucket % SUBS + 1) << shift) - 1;
}

void vmsig_hist_add(vmsig_hist *h, uint64_t value) {
    uint32_t *bucket = &h->bucket[bucket_of(value)];
    vmsig_store32(bucket, *bucket + 1);
    vmsig_store64(&h->count, h->count + 1);
    if (value > h->max)
        vmsig_store64(&h->max, value);
}

uint64_t vmsig_hist_quantile(const vmsig_hist *h, double q) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < VMSIG_HIST_BUCKETS; i++) /* not count: a reader may see it ahead of the buckets */
        total += vmsig_load32(&h->bucket[i]);
    if (total == 0)
        return 0;
    const uint64_t max = vmsig_load64(&h->max);
    double rank = q * (double)total;
    uint64_t below = 0;
    for (uint32_t i = 0; i < VMSIG_HIST_BUCKETS; i++) {
        below += vmsig_load32(&h->bucket[i]);
        if (below > 0 && (double)below >= rank)
            return i + 1 < VMSIG_HIST_BUCKETS && upper_edge(i) < max ? upper_edge(i) : max;
    }
    return max;
}

size_t vmsig_gauges_bytes(uint32_t links_max) {
    return sizeof(vmsig_gauges) + (size_t)links_max * sizeof(vmsig_link_gauge);
}

int vmsig_gauges_create(int fd, uint32_t links_max, vmsig_gauges **out) {
    void *map;
    *out = NULL;
    if (links_max > LINKS_MAX)
        return -EINVAL;
    int err = vmsig_page_create(fd, vmsig_gauges_bytes(links_max), &map);
    if (err < 0)
        return err;
    *out = map;
    (*out)->links_max = links_max;
    vmsig_page_commit(map, VMSIG_GAUGES_MAGIC);
    return 0;
}

int vmsig_gauges_open(int fd, const vmsig_gauges **out, uint32_t *links_max) {
    const void *map;
    *out = NULL;
    int err = vmsig_page_open(fd, sizeof(vmsig_gauges), VMSIG_GAUGES_MAGIC, &map);
    if (err < 0)
        return err;
    *links_max = vmsig_load32(&((const vmsig_gauges *)map)->links_max);
    vmsig_shm_unmap(map, sizeof(vmsig_gauges));
    if (*links_max > LINKS_MAX)
        return -EPROTO;
    err = vmsig_page_open(fd, vmsig_gauges_bytes(*links_max), VMSIG_GAUGES_MAGIC, &map);
    if (err == 0)
        *out = map;
    return err;
}

void vmsig_gauges_close(const vmsig_gauges *g, uint32_t links_max) {
    vmsig_shm_unmap(g, vmsig_gauges_bytes(links_max));
}

vmsig_link_gauge *vmsig_gauges_link(vmsig_gauges *g, uint32_t link, uint32_t output) {
    vmsig_link_gauge *free_place = NULL;
    for (uint32_t i = 0; i < g->links_max; i++) {
        vmsig_link_gauge *l = &g->links[i];
        if (l->link == link && l->output == output)
            return l;
        if (l->link == 0 && free_place == NULL)
            free_place = l;
    }
    if (free_place != NULL) {
        vmsig_store32(&free_place->output, output);
        vmsig_store32(&free_place->link, link);
    }
    return free_place;
}
