#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/codec.h"

static const char *const kinds[256] = {
    [VMSIG_EV_STATE] = "state",
    [VMSIG_EV_MEMCTX] = "memctx",
    [VMSIG_EV_MEMCTX_INVALID] = "memctx-invalid",
    [VMSIG_EV_EPOCH_END] = "epoch-end",
    [VMSIG_EV_LOST] = "lost",
    [VMSIG_EV_SNAPSHOT_END] = "snapshot-end",
    [VMSIG_EV_RESULT] = "result",
    [VMSIG_EV_LEASE] = "lease",
    [VMSIG_EV_VMHOST] = "vmhost",
    [VMSIG_CMD_INPUT] = "input",
    [VMSIG_CMD_LIFECYCLE] = "lifecycle",
    [VMSIG_CMD_VM] = "vm",
    [VMSIG_CMD_MEMWRITE] = "memwrite",
    [VMSIG_CMD_LEASE] = "lease-request",
};
static const char *const sources[VMSIG_SOURCES_MAX] = {
    [VMSIG_SRC_SEAM] = "seam",   [VMSIG_SRC_MEMCTX] = "memctx",     [VMSIG_SRC_VMHOST] = "vmhost",
    [VMSIG_SRC_INPUT] = "input", [VMSIG_SRC_MEMWRITE] = "memwrite",
};
static const char *const prios[] = {"default", "low", "normal", "high", "urgent"};
static const char *const statuses[] = {"ok",          "nocap",   "nolease", "held",    "fenced", "invalid",
                                       "unavailable", "dropped", "timeout", "partial", "unknown"};

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static const char *name_of(const char *const *names, size_t n, long value, char buf[16]) {
    if (value >= 0 && (size_t)value < n && names[value])
        return names[value];
    snprintf(buf, 16, "%ld", value);
    return buf;
}

const char *vmsig_kind_name(uint8_t kind) {
    static _Thread_local char buf[16];
    return name_of(kinds, COUNT(kinds), kind, buf);
}
const char *vmsig_source_name(uint8_t source) {
    static _Thread_local char buf[16];
    return name_of(sources, COUNT(sources), source, buf);
}
const char *vmsig_status_name(int32_t status) {
    static _Thread_local char buf[16];
    return name_of(statuses, COUNT(statuses), status, buf);
}
const char *vmsig_prio_name(uint8_t prio) {
    static _Thread_local char buf[16];
    return name_of(prios, COUNT(prios), prio, buf);
}

/* A name of the table, or a decimal number below n. */
static int by_name(const char *const *names, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (names[i] && strcmp(names[i], name) == 0)
            return (int)i;
    if (*name == '\0' || strlen(name) > 3 || strspn(name, "0123456789") != strlen(name))
        return -1;
    long value = strtol(name, NULL, 10);
    return (size_t)value < n ? (int)value : -1;
}

int vmsig_kind_by_name(const char *name) {
    return by_name(kinds, COUNT(kinds), name);
}
int vmsig_source_by_name(const char *name) {
    return by_name(sources, COUNT(sources), name);
}
int vmsig_prio_by_name(const char *name) {
    return by_name(prios, COUNT(prios), name);
}
