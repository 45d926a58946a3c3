#include "supervisor/restart.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "vmsig_actor.h"

#define EXIT_USAGE 64 /* of sysexits.h: what is wrong with the arguments does not pass by being tried again */

static bool wants_restart(const vmsig_topo_actor *a, const vmsig_end *end) {
    int status = end->status;
    if (WIFEXITED(status) && WEXITSTATUS(status) == VMSIG_EXIT_DONT_RESTART)
        return false;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_USAGE && !end->was_ready)
        return false;
    if (a->restart == VMSIG_RESTART_TRANSIENT)
        return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    return a->restart == VMSIG_RESTART_PERMANENT;
}

static uint32_t in_window(const vmsig_restarts *r, uint64_t window_ns, uint64_t now_ns) {
    uint32_t kept = r->total < VMSIG_RESTARTS_KEPT ? r->total : VMSIG_RESTARTS_KEPT;
    uint32_t n = 0;
    for (uint32_t i = 0; i < kept; i++)
        n += now_ns - r->at_ns[i] <= window_ns;
    return n;
}

/* After the n-th short run, n from 1. */
static uint64_t backoff(uint32_t n, uint32_t random) {
    if (n <= 1)
        return 0;
    uint32_t doublings = n - 2 < 16 ? n - 2 : 16;
    uint64_t ns = VMSIG_BACKOFF_NS << doublings;
    if (ns > VMSIG_BACKOFF_MAX_NS)
        ns = VMSIG_BACKOFF_MAX_NS;
    ns = ns - ns / 4 + ns / 2 * (random % 1024) / 1024;
    return ns < VMSIG_BACKOFF_MAX_NS ? ns : VMSIG_BACKOFF_MAX_NS;
}

vmsig_verdict vmsig_restart_decide(vmsig_restarts *r, const vmsig_topo_actor *a, const vmsig_end *end, uint64_t now_ns,
                                   uint32_t random, uint64_t *delay_ns, uint32_t *nth) {
    if (!wants_restart(a, end))
        return VMSIG_VERDICT_REST;
    bool killed = WIFSIGNALED(end->status) && WTERMSIG(end->status) == SIGKILL;
    if (end->was_ready && end->ran_ns >= a->window_ns)
        r->streak = 0;
    if (a->restarts_max == 0 ? end->was_ready || killed : end->was_ready && end->ran_ns >= VMSIG_SHORT_RUN_NS)
        r->shorts = 0;
    *nth = in_window(r, a->window_ns, now_ns) + 1;
    if (a->restarts_max > 0 && (*nth > a->restarts_max || r->streak >= VMSIG_STREAK_FACTOR * a->restarts_max))
        return VMSIG_VERDICT_EXHAUSTED;
    r->at_ns[r->total % VMSIG_RESTARTS_KEPT] = now_ns;
    r->total++;
    r->streak++;
    *delay_ns = backoff(++r->shorts, random);
    return VMSIG_VERDICT_START;
}

const char *vmsig_end_text(int status, char *buf, size_t len) {
    if (WIFSIGNALED(status))
        snprintf(buf, len, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(buf, len, "exit %d", WEXITSTATUS(status));
    return buf;
}
