/* Input: a queue of groups, sent so that none is dropped by the guest's keyboard. Its controller holds 16 bytes, 8 keys
 * at two bytes, and drops the rest in silence: so no more than 8 keys are sent before the guest had 4 milliseconds for
 * each (a host that starves QEMU for longer than 8 keys' time can still lose some). A group of more is sent in pieces. */
#include <errno.h>
#include <string.h>

#include "actors/hosts/qemu/keys.h"
#include "actors/hosts/qemu/qemu_i.h"

#define KEYS_MAX 8u
#define KEY_NS   (4 * VMSIG_QMP_MS) /* for the guest to read one */

static bool takes_input(const vmsig_qemu *q) { /* a key wakes a guest that sleeps */
    return q->up && !q->resetting && (q->want == VMSIG_VM_RUNNING || q->want == VMSIG_VM_SUSPENDED);
}

static bool is_key(const vmsig_input *in) {
    return in->type == VMSIG_INPUT_KEY || in->type == VMSIG_INPUT_BTN;
}

/* ---- one piece --------------------------------------------------------------------------------------- */

static void on_sent(void *ud, uint32_t corr, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    vmsig_status status = vmsig_qemu_status(rc);
    if (rc == -EREMOTEIO)
        vmsig_host_log(q->host, "QEMU takes no input: %s", json_string_value(value));
    if (corr != 0 && q->half_failed == corr)
        status = VMSIG_PARTIAL;
    vmsig_host_done(q->host, corr, status, 0);
}

static void on_part_sent(void *ud, uint32_t corr, int rc, const json_t *value) {
    (void)value;
    if (rc < 0)
        ((vmsig_qemu *)ud)->half_failed = corr;
}

/* How many of the inputs from `from` on fit one command, and how many keys are among them. */
static uint32_t piece(const vmsig_qemu_item *it, uint32_t *keys) {
    uint32_t n = 0;
    *keys = 0;
    for (; it->sent + n < it->n; n++) {
        bool key = is_key(&it->in[it->sent + n]);
        if (key && *keys == KEYS_MAX)
            break;
        *keys += key;
    }
    return n;
}

static int send_piece(vmsig_qemu *q, vmsig_qemu_item *it, uint32_t n) {
    char text[VMSIG_QEMU_GROUP * VMSIG_QEMU_INPUT_BYTES];
    size_t len = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0)
            text[len++] = ',';
        len += (size_t)vmsig_qemu_input(&it->in[it->sent + i], text + len);
    }
    bool last = it->sent + n == it->n;
    return vmsig_qmp_send(q->qmp, vmsig_qemu_deadline(), last ? on_sent : on_part_sent, q, it->corr,
                          "\"execute\":\"input-send-event\",\"arguments\":{\"events\":[%.*s]}", (int)len, text);
}

/* ---- the queue --------------------------------------------------------------------------------------- */

static void on_barrier(void *ud, uint32_t corr, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    (void)value;
    vmsig_host_done(q->host, corr, rc == -ETIMEDOUT ? VMSIG_TIMEOUT : VMSIG_OK, 0); /* a QEMU that is gone is quiet */
}

static void pop(vmsig_qemu *q) {
    q->queue_head = (q->queue_head + 1) % VMSIG_QEMU_QUEUE;
    q->queue_n--;
}

static void refuse(vmsig_qemu *q, const vmsig_qemu_item *it) {
    vmsig_host_done(q->host, it->corr, it->sent > 0 ? VMSIG_PARTIAL : VMSIG_UNAVAILABLE, 0);
    pop(q);
}

static void leak(vmsig_qemu *q) {
    uint64_t now = vmsig_now_ns(), gone = (now - q->level_ns) / KEY_NS;
    q->level = gone < q->level ? q->level - (unsigned)gone : 0;
    q->level_ns = q->level > 0 ? q->level_ns + gone * KEY_NS : now;
}

/* false: it has to wait. */
static bool send_item(vmsig_qemu *q, vmsig_qemu_item *it) {
    uint32_t keys, n = piece(it, &keys);
    leak(q);
    if (q->level + keys > KEYS_MAX) {
        vmsig_timer_set(q->input_timer, q->level_ns + (q->level + keys - KEYS_MAX) * KEY_NS, 0);
        return false;
    }
    if (send_piece(q, it, n) < 0) {
        refuse(q, it);
        return true;
    }
    q->level += keys;
    it->sent += n;
    if (it->sent == it->n)
        pop(q);
    return true;
}

void vmsig_qemu_pump(vmsig_qemu *q) {
    while (q->queue_n > 0 && !q->holding) { /* a VM that stands still refuses input; it will go on at once */
        vmsig_qemu_item *it = &q->queue[q->queue_head];
        if (it->n > 0 && !takes_input(q)) {
            refuse(q, it);
        } else if (it->n > 0) {
            if (!send_item(q, it))
                return;
        } else {
            if (q->resetting && q->up)
                return; /* the end of the reset pumps again */
            uint32_t corr = it->corr;
            pop(q);
            if (vmsig_qmp_send(q->qmp, vmsig_now_ns() + VMSIG_QEMU_QUIET_NS, on_barrier, q, corr,
                               "\"execute\":\"query-status\"") < 0)
                vmsig_host_done(q->host, corr, q->up ? VMSIG_TIMEOUT : VMSIG_OK, 0);
        }
    }
}

void vmsig_qemu_input_timer(void *ud) {
    vmsig_qemu_pump(ud);
}

static int enqueue(vmsig_qemu *q, uint32_t corr, const vmsig_input *in, uint32_t n) {
    if (q->queue_n == VMSIG_QEMU_QUEUE)
        return VMSIG_UNAVAILABLE;
    vmsig_qemu_item *it = &q->queue[(q->queue_head + q->queue_n++) % VMSIG_QEMU_QUEUE];
    *it = (vmsig_qemu_item){.corr = corr, .n = n};
    if (n > 0)
        memcpy(it->in, in, n * sizeof *in);
    if (q->queue_n == 1)
        vmsig_qemu_pump(q);
    return VMSIG_HOST_LATER;
}

int vmsig_qemu_take_input(void *vm, uint32_t corr, const vmsig_input *in, uint32_t n) {
    vmsig_qemu *q = vm;
    for (uint32_t i = 0; i < n; i++)
        if (in[i].type == VMSIG_INPUT_ABS && !q->tablet)
            return VMSIG_UNAVAILABLE;
    return n > 0 && takes_input(q) ? enqueue(q, corr, in, n) : VMSIG_UNAVAILABLE;
}

int vmsig_qemu_quiet(void *vm, uint32_t corr, vmsig_lease_class cls) {
    vmsig_qemu *q = vm;
    (void)cls; /* one stream bears all classes */
    if (!q->up)
        return VMSIG_OK;
    int status = enqueue(q, corr, NULL, 0);
    return status == VMSIG_UNAVAILABLE ? VMSIG_TIMEOUT : status;
}
