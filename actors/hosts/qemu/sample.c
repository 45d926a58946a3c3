/* The memctx: registers, then the map of memory, both as QEMU's monitor prints them; a sample, stale on arrival. */
#include <errno.h>
#include <string.h>

#include "actors/hosts/qemu/monitor.h"
#include "actors/hosts/qemu/qemu_i.h"

#define FIRST_NS   (5 * VMSIG_QMP_MS) /* between two looks whether paging is on, growing to: */
#define SLOWEST_NS (250 * VMSIG_QMP_MS)

#define MONITOR(line) "\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"" line "\"}"

static bool settled(const vmsig_qemu *q) {
    return q->up && !q->resetting && q->ram_name[0];
}

/* The state changed while it was taken: what it says may be of both. */
static bool stale(const vmsig_qemu *q) {
    return q->sample_anew || !settled(q) || q->sample_epoch != vmsig_host_epoch(q->host);
}

static void later(vmsig_qemu *q) {
    if (!settled(q) || q->state != VMSIG_VM_RUNNING)
        return; /* the guest turns nothing on now; when it goes on, it is asked anew */
    vmsig_timer_set(q->sample_timer, vmsig_now_ns() + q->sample_delay_ns, 0);
    q->sample_delay_ns = q->sample_delay_ns * 2 < SLOWEST_NS ? q->sample_delay_ns * 2 : SLOWEST_NS;
}

static void publish(vmsig_qemu *q, const vmsig_seg *segs, int n, uint64_t low) {
    q->sample.low = low;
    q->sample.ram_id = q->ram_id;
    q->sample.flags = q->sample_coherent ? VMSIG_MEMCTX_COHERENT : 0;
    vmsig_qemu_open_ram(q, segs, n);
    if (q->told_epoch == q->sample_epoch && memcmp(&q->told, &q->sample, sizeof q->told) == 0)
        return;
    q->told = q->sample;
    q->told_epoch = q->sample_epoch;
    vmsig_host_memctx(q->host, &q->told, segs, n);
}

/* How a step went: true = go on with what it says. */
static bool usable(vmsig_qemu *q, int rc, const json_t *value) {
    q->sampling = false;
    if (rc == -ESHUTDOWN)
        return false;
    if (stale(q)) {
        q->sample_anew = false;
        if (settled(q))
            vmsig_qemu_sample(q);
        return false;
    }
    if (rc == 0 && json_is_string(value))
        return true;
    vmsig_host_log(q->host, "QEMU does not tell its registers: %s", strerror(-rc));
    later(q);
    return false;
}

static void on_map(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    vmsig_seg segs[VMSIG_SEGS_MAX];
    uint64_t low;
    (void)tag;
    if (!usable(q, rc, value))
        return;
    int n = vmsig_monitor_segments(json_string_value(value), q->ram_name, segs, VMSIG_SEGS_MAX, &low);
    if (n < 0)
        vmsig_host_log(q->host, "QEMU's map of memory cannot be read: %s", strerror(-n));
    else
        publish(q, segs, n, low);
}

static void on_registers(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    (void)tag;
    if (!usable(q, rc, value))
        return;
    q->sample = (vmsig_memctx){0};
    rc = vmsig_monitor_registers(json_string_value(value), &q->sample);
    if (rc == -ENOENT) {
        later(q);
    } else if (rc < 0) {
        vmsig_host_log(q->host, "QEMU's registers cannot be read: %s", strerror(-rc));
    } else {
        q->sampling = vmsig_qmp_send(q->qmp, vmsig_qemu_deadline(), on_map, q, 0, MONITOR("info mtree -f")) == 0;
    }
}

static void look(vmsig_qemu *q) {
    if (q->sampling) {
        q->sample_anew = true;
        return;
    }
    q->sample_epoch = vmsig_host_epoch(q->host);
    q->sample_coherent = q->state == VMSIG_VM_PAUSED && q->want == VMSIG_VM_PAUSED;
    q->sampling = vmsig_qmp_send(q->qmp, vmsig_qemu_deadline(), on_registers, q, 0, MONITOR("info registers -a")) == 0;
}

void vmsig_qemu_sample(vmsig_qemu *q) {
    if (!q->ram_name[0])
        return;
    q->sample_delay_ns = FIRST_NS;
    vmsig_timer_set(q->sample_timer, 0, 0);
    look(q);
}

void vmsig_qemu_sample_timer(void *ud) {
    vmsig_qemu *q = ud;
    if (settled(q))
        look(q);
}
