/* An actor's life: open, turns, close; and what it may ask about itself. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "actors/runtime/rt.h"

#define OPEN_MS 10000 /* for the supervisor to send the boot */

/* ---- telling ----------------------------------------------------------------------------------------- */

static void say_line(const vmsig_rt *rt, const char *text) {
    dprintf(STDERR_FILENO, "%s: %s\n", rt && rt->boot ? rt->boot->name : program_invocation_short_name, text);
}

void vmsig_rt_log(const vmsig_rt *rt, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    say_line(rt, text);
}

void vmsig_rt_fail(vmsig_rt *rt, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (rt->told) /* the first reason is the one that counts */
        return;
    rt->told = true;
    say_line(rt, text);
    Vmsig__Pb__Failed failed = VMSIG__PB__FAILED__INIT;
    failed.why = text;
    Vmsig__Pb__FromActor m = VMSIG__PB__FROM_ACTOR__INIT;
    m.m_case = VMSIG__PB__FROM_ACTOR__M_FAILED;
    m.failed = &failed;
    vmsig_rt_send(rt, &m, -1); /* without a supervisor the line above is all there is */
}

/* ---- what the process is made ------------------------------------------------------------------------ */

/* Actors map what others must not see: no core, no ptrace by their own uid. LeakSanitizer needs ptrace. */
static void make_undumpable(void) {
#ifndef __SANITIZE_ADDRESS__
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

/* When an actor stops is the supervisor's to say: Ctrl-C reaches the whole terminal. */
static void ignore_signals(void) {
    const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        signal(signals[i], SIG_IGN);
}

/* ---- open, run, close -------------------------------------------------------------------------------- */

static int take_boot(vmsig_rt *rt, int timeout_ms) {
    uint64_t deadline = vmsig_now_ns() + (uint64_t)timeout_ms * 1000000u;
    while (!rt->ready && !rt->ended) {
        uint64_t now = vmsig_now_ns();
        if (now >= deadline) {
            vmsig_rt_fail(rt, "the supervisor did not complete the boot within %d ms", timeout_ms);
            return -ETIMEDOUT;
        }
        int ran = vmsig_loop_run_once(rt->loop, (int)((deadline - now) / 1000000u) + 1);
        if (ran < 0)
            return ran;
        if (rt->drained && !rt->ready) { /* told to stop before there was anything to drain */
            vmsig_rt_say_stopped(rt);
            vmsig_rt_quit(rt, 0);
        }
    }
    return rt->ready ? 0 : rt->exit_code ? -EPROTO : -ESHUTDOWN;
}

int vmsig_rt_open(const vmsig_rt_ops *ops, void *self, int timeout_ms, vmsig_rt **out) {
    vmsig_rt *rt = aligned_alloc(alignof(vmsig_rt), sizeof(*rt));
    if (!rt)
        return -ENOMEM;
    memset(rt, 0, sizeof(*rt));
    *out = rt; /* the actor's ops may want it while it opens */
    rt->ops = ops;
    rt->self = self;
    rt->boot_fd = rt->state_fd = rt->listen_fd = -1;
    rt->audit_fd = rt->audit_prev_fd = rt->audit_seal_fd = -1;
    make_undumpable();
    ignore_signals();
    int err = vmsig_loop_new(&rt->loop);
    if (!err)
        err = vmsig_rt_stop_timer(rt);
    if (!err)
        err = vmsig_rt_boot_take(rt);
    if (!err)
        err = take_boot(rt, timeout_ms);
    if (err) {
        vmsig_rt_close(rt);
        *out = NULL;
        return err;
    }
    return 0;
}

int vmsig_rt_run(vmsig_rt *rt) {
    int err = 0;
    while (!err)
        err = vmsig_rt_turn(rt, -1);
    if (err != -ESHUTDOWN) {
        vmsig_rt_fail(rt, "the event loop failed: %s", strerror(-err));
        return EXIT_FAILURE;
    }
    return rt->exit_code;
}

int vmsig_rt_main(const vmsig_rt_ops *ops, void *self) {
    vmsig_rt *rt;
    int err = vmsig_rt_open(ops, self, OPEN_MS, &rt);
    if (err)
        return err == -ESHUTDOWN ? EXIT_SUCCESS : err == -ENOTCONN ? EX_USAGE : EXIT_FAILURE;
    int code = vmsig_rt_run(rt);
    vmsig_rt_close(rt);
    return code;
}

void vmsig_rt_close(vmsig_rt *rt) {
    if (!rt)
        return;
    rt->ended = true;
    vmsig_rt_serve_later(rt); /* frees what is left of it */
    vmsig_rt_links_drop(rt);
    vmsig_rt_boot_drop(rt);
    vmsig_rt_pages_drop(rt);
    vmsig_timer_free(rt->stop_timer);
    vmsig_loop_free(rt->loop);
    if (rt->boot_msg)
        protobuf_c_message_free_unpacked(&rt->boot_msg->base, NULL);
    free(rt);
}

void vmsig_rt_quit(vmsig_rt *rt, int exit_code) {
    if (rt->ended)
        return;
    rt->ended = true;
    rt->exit_code = exit_code;
}

/* Said to the supervisor at the end of the turn, when all that it published is flushed. */
const char *vmsig_rt_failed(const vmsig_rt *rt) {
    return rt->failed[0] ? rt->failed : NULL;
}

void vmsig_rt_stopped(vmsig_rt *rt) {
    rt->drained = rt->wake = true;
}

/* ---- what it may ask --------------------------------------------------------------------------------- */

const Vmsig__Pb__Boot *vmsig_rt_boot(const vmsig_rt *rt) {
    return rt->boot;
}

const char *vmsig_rt_option(const vmsig_rt *rt, const char *key) {
    for (size_t i = 0; i < rt->boot->n_options; i++)
        if (strcmp(rt->boot->options[i]->key, key) == 0)
            return rt->boot->options[i]->value;
    return NULL;
}

vmsig_loop *vmsig_rt_loop(vmsig_rt *rt) {
    return rt->loop;
}
