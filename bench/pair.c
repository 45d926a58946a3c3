#include "bench/pair.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/pair_impl.h"

#define DONE_MS 60000

static bench_sheet *make_sheet(bench_bed *b) {
    char path[PATH_MAX];
    bench_bed_path(b, "sheet", path, sizeof path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || fchmod(fd, geteuid() == 0 ? 0666 : 0600) != 0 || ftruncate(fd, sizeof(bench_sheet)) != 0)
        bench_bed_fail(b, "%s: %s", path, strerror(errno));
    void *p = mmap(NULL, sizeof(bench_sheet), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        bench_bed_fail(b, "%s: %s", path, strerror(errno));
    return p;
}

static void wait_done(bench_pair *p) {
    struct pollfd fds = {.fd = p->done, .events = POLLIN};
    char byte;
    for (int ms = 0; poll(&fds, 1, 100) == 0; ms += 100) {
        bench_bed_look(&p->bed);
        if (ms > DONE_MS)
            bench_bed_fail(&p->bed, "no answer came any more");
    }
    if (read(p->done, &byte, 1) != 1)
        bench_bed_fail(&p->bed, "the asker says nothing: %s", strerror(errno));
}

static void give(bench_pair *p, const bench_pair_order *o) {
    if (write(p->orders, o, sizeof *o) != sizeof *o)
        bench_bed_fail(&p->bed, "the asker takes no orders");
    wait_done(p);
}

void bench_pair_start(bench_pair *p, bench_beds *beds, const char *poll_mode, int asker, int answerer) {
    char path[PATH_MAX];
    bench_bed_make(&p->bed, "pair", beds);
    p->orders = bench_bed_fifo(&p->bed, "orders", path, sizeof path);
    p->done = bench_bed_fifo(&p->bed, "done", path, sizeof path);
    p->sheet = make_sheet(&p->bed);
    FILE *f = bench_bed_topology(&p->bed);
    fprintf(f,
            "slots: 1024\n"
            "endpoints:\n"
            "  - {name: none, id: 0, host: stub, stub: {memory: 4M, hz: 0}}\n"
            "actors:\n"
            "  - {name: context, kind: context, poll: block}\n"
            "  - {name: gateway, kind: gateway, poll: block, socket: control.sock}\n"
            "  - {name: answerer, kind: actor, endpoint: none, source: 9, poll: %s, cpu: %d,\n"
            "     exec: vmsig-bench, args: [--answerer, \"\"]}\n"
            "  - {name: asker, kind: actor, endpoint: none, source: 8, poll: %s, cpu: %d,\n"
            "     exec: vmsig-bench, args: [--asker, \"%s\"]}\n"
            "links:\n"
            "  - {from: asker, to: answerer, arena: 4M}\n"
            "  - {from: answerer, to: asker, dir: down}\n",
            poll_mode, answerer, poll_mode, asker, p->bed.dir);
    bench_bed_start(&p->bed, f);
    give(p, &(bench_pair_order){.n = 1}); /* they are there when the first has come back */
}

const bench_hist *bench_pair_ask(bench_pair *p, uint64_t n, uint64_t period_ns) {
    give(p, &(bench_pair_order){.n = n, .period_ns = period_ns});
    return &p->sheet->hist;
}

double bench_pair_stream(bench_pair *p, uint64_t n, uint32_t body) {
    give(p, &(bench_pair_order){.n = n, .stream = true, .body = body});
    return (double)n * 1e9 / (double)p->sheet->ns;
}

void bench_pair_stop(bench_pair *p) {
    bench_bed_stop(&p->bed);
    munmap(p->sheet, sizeof *p->sheet);
    close(p->orders);
    close(p->done);
}
