/* account.h: every event of every stream, and every command, accounted for.
 *
 * stream    numbers 1, 2, 3, ... A survivor stands for the `merged` numbers up to its own; a LOST in its place for the
 *           `count` numbers that follow. What is left over is a gap (lost) or comes twice (duplicated); a number that
 *           was missing and comes after all, or a seq that does not grow, is reordered.
 * command   exactly one result; its effect, seen in guest RAM, at most once: once where the result is OK, never where
 *           the result says that there was none.
 */
#ifndef TEST_ACCOUNT_H
#define TEST_ACCOUNT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/chaos/pulse.h"
#include "vmsig_event.h"

#define MISSING_MAX 1024u
#define TOLD_MAX    20u /* anomalies that are described one by one */

typedef struct stream {
    uint64_t expected; /* the number that comes next; 0 = nothing has come */
    uint64_t last_seq;
    uint64_t came_ns;     /* the origin of its last event, and whose that was */
    uint32_t incarnation; /* 0: a LOST */
    uint32_t doubts_used;
    uint32_t missing_n;
    uint64_t missing[MISSING_MAX];
} stream;

typedef enum cmd_kind { CMD_MOVE, CMD_QUERY, CMD_LEASE } cmd_kind;

typedef struct command {
    uint8_t kind; /* cmd_kind */
    uint8_t answers, effects;
    int8_t status;
    uint64_t sent_ns;
} command;

typedef struct account {
    pulse_page *pages[VMSIG_SOURCES_MAX]; /* NULL: no such sensor */
    stream streams[VMSIG_SOURCES_MAX][PULSE_STREAMS];
    uint64_t events, merged, told[8], broken; /* told: by vmsig_lost_why */
    uint64_t lost, duplicated, reordered;
    uint64_t anomalies;
    command *commands; /* by their number, which their effect shows */
    uint64_t *by_corr; /* the number of a command */
    uint64_t commands_n, commands_room, corr_room, open, effects;
    uint64_t statuses[16];
} account;

static inline void anomaly(account *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline void anomaly(account *a, const char *fmt, ...) {
    va_list ap;
    if (a->anomalies++ >= TOLD_MAX)
        return;
    va_start(ap, fmt);
    fputs("chaos: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

/* ---- events -------------------------------------------------------------------------------------------- */

/* Numbers below n of which nobody can say whether they were published; each excuses one gap. */
static inline uint64_t take_doubts(const pulse_page *p, stream *s, uint32_t which, uint64_t n, uint64_t gap) {
    uint32_t known = 0;
    for (uint32_t i = 0; i < p->doubts_n; i++)
        known += p->doubts[i].stream == which && p->doubts[i].n < n;
    uint64_t excused = known - s->doubts_used < gap ? known - s->doubts_used : gap;
    s->doubts_used += (uint32_t)excused;
    return excused;
}

static inline void note_gap(account *a, stream *s, uint64_t from, uint64_t n) {
    a->lost += n;
    for (uint64_t i = 0; i < n && s->missing_n < MISSING_MAX; i++)
        s->missing[s->missing_n++] = from + i;
}

static inline bool was_missing(stream *s, uint64_t n) {
    for (uint32_t i = 0; i < s->missing_n; i++)
        if (s->missing[i] == n) {
            s->missing[i] = s->missing[--s->missing_n];
            return true;
        }
    return false;
}

static inline void check_seq(account *a, stream *s, const vmsig_event *ev, uint32_t source) {
    if (ev->seq <= s->last_seq) {
        a->reordered++;
        anomaly(a, "source %u, class %u: seq %llu after %llu", source, ev->prio, (unsigned long long)ev->seq,
                (unsigned long long)s->last_seq);
    } else {
        s->last_seq = ev->seq;
    }
}

static inline void account_lost(account *a, const vmsig_event *ev) {
    vmsig_lost lost;
    memcpy(&lost, ev->inln, sizeof lost);
    a->told[lost.why & 7u] += lost.count;
    if (lost.why == VMSIG_LOST_WINDOW || lost.why == VMSIG_LOST_POISON) {
        a->lost += lost.count; /* the run is made so that neither may come */
        anomaly(a, "%llu told as lost, why %u", (unsigned long long)lost.count, lost.why);
        return;
    }
    if (lost.why == VMSIG_LOST_DEADLINE || lost.source >= VMSIG_SOURCES_MAX || a->pages[lost.source] == NULL)
        return;
    stream *s = &a->streams[lost.source][ev->prio % PULSE_STREAMS];
    check_seq(a, s, ev, lost.source);
    s->expected = (s->expected ? s->expected : 1) + lost.count;
    s->came_ns = ev->ts_ns;
    s->incarnation = 0;
}

static inline bool body_right(const vmsig_event *ev, const pulse_body *b) {
    if (ev->inln_len != pulse_inline(b->n) || ev->payload_len != b->payload)
        return false;
    for (uint32_t i = sizeof *b; i < ev->inln_len; i++)
        if (ev->inln[i] != pulse_byte(b->n, i))
            return false;
    for (uint32_t i = 0; i < ev->payload_len; i++)
        if (((const uint8_t *)ev->payload)[i] != pulse_byte(b->n, i))
            return false;
    return true;
}

static inline void account_number(account *a, const vmsig_event *ev, const pulse_body *b) {
    stream *s = &a->streams[ev->source][ev->prio];
    uint64_t first = b->n + 1 - ev->merged, expected = s->expected ? s->expected : 1;
    if (first > expected) {
        uint64_t gap = first - expected;
        gap -= take_doubts(a->pages[ev->source], s, ev->prio, b->n, gap);
        if (gap > 0)
            anomaly(a,
                    "source %u, class %u: %llu lost before %llu (incarnation %u, epoch %u, seq %llu; %.3f ms after "
                    "incarnation %u, seq %llu)",
                    ev->source, ev->prio, (unsigned long long)gap, (unsigned long long)first, b->incarnation, ev->epoch,
                    (unsigned long long)ev->seq, (double)(ev->ts_ns - s->came_ns) / 1e6, s->incarnation,
                    (unsigned long long)s->last_seq);
        note_gap(a, s, expected, gap);
    } else if (first < expected && was_missing(s, b->n)) {
        a->reordered++;
        a->lost--;
        anomaly(a, "source %u, class %u: %llu comes late", ev->source, ev->prio, (unsigned long long)b->n);
    } else if (first < expected) {
        a->duplicated += expected - first;
        anomaly(a, "source %u, class %u: %llu (of %u, incarnation %u) where %llu was expected", ev->source, ev->prio,
                (unsigned long long)b->n, ev->merged, b->incarnation, (unsigned long long)expected);
    }
    if (b->n >= expected)
        s->expected = b->n + 1;
    check_seq(a, s, ev, ev->source);
    s->came_ns = ev->ts_ns;
    s->incarnation = b->incarnation;
}

static inline void account_event(account *a, const vmsig_event *ev, pulse_body *b) {
    memcpy(b, ev->inln, sizeof *b);
    if (ev->source >= VMSIG_SOURCES_MAX || a->pages[ev->source] == NULL || ev->prio >= PULSE_STREAMS)
        return;
    a->events++;
    a->merged += ev->merged - 1;
    if (!body_right(ev, b)) {
        a->broken++;
        a->lost++;
        anomaly(a, "source %u: the body of %llu is not what was sent", ev->source, (unsigned long long)b->n);
    }
    account_number(a, ev, b);
}

/* How many numbers are still to come. */
static inline uint64_t account_due(account *a, bool final) {
    uint64_t due = 0;
    for (uint32_t source = 0; source < VMSIG_SOURCES_MAX; source++)
        for (uint32_t i = 1; a->pages[source] != NULL && i < PULSE_STREAMS; i++) {
            const pulse_page *p = a->pages[source];
            stream *s = &a->streams[source][i];
            uint64_t expected = s->expected ? s->expected : 1, left = p->next[i] > expected ? p->next[i] - expected : 0;
            stream copy = *s;
            left -= take_doubts(p, &copy, i, p->next[i], left);
            due += left;
            if (final && left > 0)
                anomaly(a, "source %u, class %u: the last %llu did not come", source, i, (unsigned long long)left);
        }
    return due;
}

/* ---- commands ------------------------------------------------------------------------------------------ */

static inline void *make_place(void *of, uint64_t *room, uint64_t at, size_t size) {
    if (at < *room)
        return of;
    uint64_t more = at * 2 + 1024;
    char *p = realloc(of, more * size);
    if (p == NULL)
        abort();
    memset(p + *room * size, 0, (more - *room) * size);
    *room = more;
    return p;
}

static inline void account_sent(account *a, uint64_t corr, cmd_kind kind, uint64_t now) {
    uint64_t n = ++a->commands_n;
    a->commands = make_place(a->commands, &a->commands_room, n, sizeof *a->commands);
    a->by_corr = make_place(a->by_corr, &a->corr_room, corr, sizeof *a->by_corr);
    a->commands[n] = (command){.kind = (uint8_t)kind, .sent_ns = now};
    a->by_corr[corr] = n;
    a->open++;
}

static inline command *account_result(account *a, uint64_t corr, int32_t status) {
    uint64_t n = corr < a->corr_room ? a->by_corr[corr] : 0;
    command *c = n > 0 ? &a->commands[n] : NULL;
    if (c == NULL || c->answers++ > 0) {
        a->duplicated++;
        anomaly(a, "command %llu: one more result, status %d", (unsigned long long)n, status);
        return c;
    }
    c->status = (int8_t)status;
    a->statuses[status & 15]++;
    a->open--;
    return c;
}

static inline void account_effect(account *a, uint64_t n) {
    a->effects++;
    if (n >= a->commands_room || a->commands[n].sent_ns == 0 || a->commands[n].effects++ > 0) {
        a->duplicated++;
        anomaly(a, "command %llu: had its effect once more", (unsigned long long)n);
    }
}

/* At the end: results and effects agree. */
static inline void account_commands(account *a) {
    for (uint64_t i = 0; i < a->commands_room; i++) {
        const command *c = &a->commands[i];
        if (c->sent_ns == 0)
            continue;
        bool open_ended = c->status == VMSIG_UNKNOWN || c->status == VMSIG_TIMEOUT || c->status == VMSIG_PARTIAL;
        if (c->answers == 0) {
            a->lost++;
            anomaly(a, "command %llu: no result", (unsigned long long)i);
        } else if (c->kind == CMD_MOVE && c->status == VMSIG_OK && c->effects == 0) {
            a->lost++;
            anomaly(a, "command %llu: OK, and no effect", (unsigned long long)i);
        } else if (c->status != VMSIG_OK && !open_ended && c->effects > 0) {
            a->duplicated++;
            anomaly(a, "command %llu: status %d, and an effect", (unsigned long long)i, c->status);
        }
    }
}

#endif
