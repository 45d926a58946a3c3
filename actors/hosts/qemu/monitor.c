#include "actors/hosts/qemu/monitor.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/memctx/walk.h"

#define FOUR_GIB (1ull << 32)

/* ---- registers --------------------------------------------------------------------------------------- */

/* The hexadecimal (or, for CPL, single-digit) number behind "KEY=" in [text, end). */
static bool field(const char *text, const char *end, const char *key, uint64_t *out) {
    size_t n = strlen(key);
    for (const char *at = text; (at = strstr(at, key)) && at < end; at += n) {
        bool whole = at == text || at[-1] == ' ' || at[-1] == '\n';
        char *stop;
        if (!whole)
            continue;
        *out = strtoull(at + n, &stop, 16);
        return stop > at + n;
    }
    return false;
}

static bool paged(const vmsig_memctx *c) {
    return (c->cr0 & VMSIG_CR0_PG) && (c->cr4 & VMSIG_CR4_PAE) && (c->efer & VMSIG_EFER_LMA);
}

int vmsig_monitor_registers(const char *text, vmsig_memctx *out) {
    const char *cpu = strstr(text, "CPU#");
    if (!cpu)
        return -EPROTO;
    while (cpu) {
        const char *next = strstr(cpu + 4, "CPU#"), *end = next ? next : cpu + strlen(cpu);
        vmsig_memctx c = {0};
        uint64_t cpl = 0, cr3 = 0;
        if (!field(cpu, end, "CR0=", &c.cr0) || !field(cpu, end, "CR3=", &cr3) || !field(cpu, end, "CR4=", &c.cr4) ||
            !field(cpu, end, "EFER=", &c.efer) || !field(cpu, end, "CPL=", &cpl) || cpl > 3)
            return -EPROTO;
        if (paged(&c)) {
            out->root = cr3 & VMSIG_PTE_ADDR;
            out->cr0 = c.cr0;
            out->cr4 = c.cr4;
            out->efer = c.efer;
            out->vcpu = (uint16_t)strtoul(cpu + 4, NULL, 10);
            out->cpl = (uint8_t)cpl;
            return 0;
        }
        cpu = next;
    }
    return -ENOENT;
}

/* ---- the map of memory ------------------------------------------------------------------------------- */

/* "  0000000000100000-0000000007ffffff (prio 0, ram): NAME @0000000000100000": true where it is of that RAM. What is
 * shadowed read-only for the guest ("rom") lies in the same RAM. */
static bool range(const char *line, const char *name, vmsig_seg *out) {
    unsigned long long first, last, off = 0;
    char type[8], owner[128];
    int n = 0;
    if (sscanf(line, " %16llx-%16llx (prio %*d, %7[a-z]): %127[^\r\n@]%n", &first, &last, type, owner, &n) != 4)
        return false;
    if (line[n] == '@')
        off = strtoull(line + n + 1, NULL, 16);
    for (size_t len = strlen(owner); len > 0 && owner[len - 1] == ' ';)
        owner[--len] = 0;
    if ((strcmp(type, "ram") != 0 && strcmp(type, "rom") != 0) || strcmp(owner, name) != 0 || last < first)
        return false;
    *out = (vmsig_seg){.gpa = first, .len = last - first + 1, .off = off};
    return true;
}

/* The flat view that the address space "memory" is an AS line of; its lines end at an empty one. */
static const char *flat_view(const char *text) {
    const char *as = strstr(text, " AS \"memory\"");
    return as ? strchr(as, '\n') : NULL;
}

static bool add(vmsig_seg *segs, int *n, int max, const vmsig_seg *s) {
    vmsig_seg *last = *n > 0 ? &segs[*n - 1] : NULL;
    if (last && last->gpa + last->len == s->gpa && last->off + last->len == s->off) {
        last->len += s->len;
        return true;
    }
    if (*n == max)
        return false;
    segs[(*n)++] = *s;
    return true;
}

int vmsig_monitor_segments(const char *text, const char *name, vmsig_seg *out, int max, uint64_t *low) {
    const char *line = flat_view(text);
    int n = 0;
    *low = 0;
    for (; line && line[1] && line[1] != '\r' && line[1] != '\n'; line = strchr(line + 1, '\n')) {
        vmsig_seg s;
        if (!range(line + 1, name, &s))
            continue;
        if (!add(out, &n, max, &s))
            return -E2BIG;
        if (s.gpa < FOUR_GIB)
            *low = s.gpa + s.len;
    }
    return n > 0 ? n : -EPROTO;
}
