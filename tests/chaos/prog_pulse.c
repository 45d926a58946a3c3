/* A sensor that emits numbered events and, whenever it is killed, goes on with the number that follows (pulse.h).
 *   prog_pulse PAGE HZ STREAMS PAYLOAD      STREAMS: 1, or 4: LOW..URGENT; PAYLOAD: at most so many bytes
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "actors/runtime/actor.h"
#include "rings/atomics.h"
#include "tests/chaos/pulse.h"

#define TICK_MS     4u
#define PAYLOAD_MAX 8192u

typedef struct sensor {
    vmsig_actor *actor;
    pulse_page *page;
    uint32_t hz, streams, payload;
    uint64_t owed; /* events x 1000 */
    uint64_t dice;
    uint8_t bytes[PAYLOAD_MAX];
} sensor;

static uint64_t roll(sensor *s) {
    s->dice ^= s->dice << 13;
    s->dice ^= s->dice >> 7;
    s->dice ^= s->dice << 17;
    return s->dice;
}

/* ---- going on where the predecessor ended -------------------------------------------------------------- */

static const vmsig_link *output(sensor *s) {
    unsigned n;
    vmsig_link *const *links = vmsig_rt_links(s->actor->rt, &n);
    for (unsigned i = 0; i < n; i++)
        if (links[i]->output)
            return links[i];
    return NULL;
}

/* Whether the last event of the predecessor's ring is number n of the stream. */
static bool is_last(const vmsig_ring_end *end, uint64_t n, uint32_t stream) {
    vmsig_event ev;
    pulse_body body;
    if (end->n == 0 || vmsig_image_unpack(&ev, &end->last) < 0 || ev.kind != PULSE_KIND)
        return false;
    memcpy(&body, ev.inln, sizeof body);
    return body.n == n && ev.prio == stream;
}

static void resolve(sensor *s, uint32_t stream, const vmsig_link *out) {
    pulse_page *p = s->page;
    uint64_t n = p->intent[stream];
    if (n < p->next[stream])
        return;
    if (is_last(&out->old, n, stream)) {
        vmsig_store64_release(&p->next[stream], n + 1);
    } else if (out->old.generation != p->intent_by[stream]) {
        if (p->doubts_n == PULSE_DOUBTS)
            abort();
        p->doubts[p->doubts_n].n = n;
        p->doubts[p->doubts_n].stream = stream;
        vmsig_store32_release(&p->doubts_n, p->doubts_n + 1);
        vmsig_store64_release(&p->next[stream], n + 1);
    }
}

static void recover(sensor *s) {
    const vmsig_link *out = output(s);
    for (uint32_t i = 0; i < PULSE_STREAMS; i++) {
        if (s->page->next[i] == 0)
            vmsig_store64_release(&s->page->next[i], 1);
        resolve(s, i, out);
    }
    vmsig_store64_release(&s->page->incarnation, vmsig_rt_boot(s->actor->rt)->incarnation);
}

/* ---- emitting -------------------------------------------------------------------------------------------- */

static void fill(sensor *s, uint64_t n, vmsig_event *ev) {
    uint32_t payload = s->payload ? (uint32_t)(n * 2654435761u >> 7) % s->payload + 1 : 0;
    pulse_body body = {.n = n, .incarnation = (uint32_t)s->page->incarnation, .payload = payload};
    ev->inln_len = pulse_inline(n);
    memcpy(ev->inln, &body, sizeof body);
    for (uint32_t i = sizeof body; i < ev->inln_len; i++)
        ev->inln[i] = pulse_byte(n, i);
    for (uint32_t i = 0; i < payload; i++)
        s->bytes[i] = pulse_byte(n, i);
    ev->payload = payload ? s->bytes : NULL;
    ev->payload_len = payload;
}

static void emit(sensor *s) {
    pulse_page *p = s->page;
    uint32_t stream = s->streams == 1 ? VMSIG_PRIO_NORMAL : (uint32_t)(1 + roll(s) % s->streams);
    uint64_t n = p->next[stream];
    vmsig_event ev = {.kind = PULSE_KIND, .dir = VMSIG_DIR_UP, .prio = (uint8_t)stream};
    fill(s, n, &ev);
    p->intent_by[stream] = p->incarnation;
    vmsig_store64_release(&p->intent[stream], n);
    if (vmsig_actor_emit(s->actor, &ev) == 0) {
        vmsig_store64_release(&p->next[stream], n + 1);
    } else if (errno == EAGAIN) { /* told as lost: the number is still to be published */
        vmsig_store64_release(&p->intent[stream], n - 1);
        vmsig_store64_release(&p->refused, p->refused + 1);
    } else {
        fprintf(stderr, "%s: cannot emit: %s\n", vmsig_actor_name(s->actor), strerror(errno));
        abort();
    }
}

/* Sometimes nothing for a while, then all at once. */
static void on_tick(vmsig_actor *a, void *ud) {
    sensor *s = ud;
    (void)a;
    s->owed += (uint64_t)s->hz * TICK_MS;
    if (roll(s) % 3 == 0)
        return;
    while (s->owed >= 1000 && !vmsig_load32(&s->page->quiet)) {
        s->owed -= 1000;
        emit(s);
    }
}

static pulse_page *map_page(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(pulse_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    return p == MAP_FAILED ? NULL : p;
}

int main(int argc, char **argv) {
    static sensor s;
    if (argc != 5)
        return VMSIG_EXIT_DONT_RESTART;
    s.page = map_page(argv[1]);
    s.hz = (uint32_t)atoi(argv[2]);
    s.streams = (uint32_t)atoi(argv[3]);
    s.payload = (uint32_t)atoi(argv[4]) % (PAYLOAD_MAX + 1);
    s.dice = vmsig_now_ns() | 1;
    s.actor = s.page ? vmsig_actor_open() : NULL;
    if (!s.actor)
        return 1;
    recover(&s);
    if (vmsig_actor_every(s.actor, TICK_MS * 1000000u, on_tick, &s) != 0)
        return 1;
    int code = vmsig_actor_run(s.actor);
    vmsig_actor_free(s.actor);
    return code;
}
