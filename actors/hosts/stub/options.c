/* The stub's options, as the topology hands them over. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "actors/hosts/stub/stub.h"
#include "schema/conf_value.h"

typedef struct options {
    uint64_t memory, hz, boot_ms;
    bool la57;
} options;

/* Defaults and ranges once more, for who runs the stub without a topology that has checked them. */
static const vmsig_conf_key keys[] = {
    {.name = "memory", .type = VMSIG_CONF_SIZE, .offset = offsetof(options, memory), .min = 4u << 20, .max = 1u << 30},
    {.name = "la57", .type = VMSIG_CONF_BOOL, .offset = offsetof(options, la57)},
    {.name = "hz", .type = VMSIG_CONF_UINT, .offset = offsetof(options, hz), .max = 10000},
    {.name = "boot_ms", .type = VMSIG_CONF_UINT, .offset = offsetof(options, boot_ms), .max = 60000},
};

int vmsig_stub_make(const char *(*option)(void *ud, const char *key), void *ud, const vmsig_host_backend **backend,
                    void **vm, char *err, size_t err_len) {
    options o = {
        .memory = vmsig_stub_defaults.memory, .hz = vmsig_stub_defaults.hz, .boot_ms = vmsig_stub_defaults.boot_ms};
    vmsig_conf_error why = {{0}};
    const vmsig_conf_place place = {.file = "stub", .err = &why};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *text = option(ud, keys[i].name);
        if (!text)
            continue;
        int rc = vmsig_conf_scalar(&place, &keys[i], text, strlen(text), (char *)&o + keys[i].offset);
        if (rc < 0) {
            snprintf(err, err_len, "%s", why.text);
            return rc;
        }
    }
    *backend = &vmsig_stub_backend;
    const vmsig_stub_cfg cfg = {
        .memory = o.memory, .hz = (uint32_t)o.hz, .boot_ms = (uint32_t)o.boot_ms, .la57 = o.la57};
    return vmsig_stub_vm_new(&cfg, vm, err, err_len);
}
