/* pulse.h: what a numbered sensor (prog_pulse.c) and who accounts for its events (prog_chaos.c) agree on.
 *
 * Each event bears the next number of its stream, a stream for each priority. The numbers outlive the sensor in a page
 * that it shares with the accountant:
 *
 *   intent := n ── publish ── next := n + 1
 *
 * A successor that finds intent >= next looks at its predecessor's ring: was that event the last one in it? The ring is
 * known to each incarnation that maps its own; one that dies before it has looked leaves the question open for ever:
 * then the number is doubtful, and may be missing.
 */
#ifndef TEST_PULSE_H
#define TEST_PULSE_H

#include <stdint.h>

#define PULSE_KIND    64u
#define PULSE_STREAMS 5u /* by vmsig_prio; 0 is not used */
#define PULSE_DOUBTS  4096u

typedef struct pulse_page {
    uint64_t next[PULSE_STREAMS];      /* the number to be published next, from 1 */
    uint64_t intent[PULSE_STREAMS];    /* >= next: it may have been published already */
    uint64_t intent_by[PULSE_STREAMS]; /* which incarnation was about to */
    uint64_t incarnation;              /* of the newest sensor that has read the page */
    uint64_t refused;                  /* emits that found no room in time, and were told as lost */
    uint32_t quiet;                    /* the accountant's: emit no more */
    uint32_t doubts_n;
    struct {
        uint64_t n, stream;
    } doubts[PULSE_DOUBTS];
} pulse_page;

/* The beginning of each event's inline body; the rest of it, and the payload, follow from n. */
typedef struct pulse_body {
    uint64_t n;
    uint32_t incarnation, payload;
} pulse_body;

/* The i-th byte of what follows. */
static inline uint8_t pulse_byte(uint64_t n, uint32_t i) {
    return (uint8_t)(n * 31u + i * 7u + (n >> 8));
}

/* Bytes inline: a slot of its own, or one of two, or of several. */
static inline uint32_t pulse_inline(uint64_t n) {
    return n % 5 == 0 ? 64u : n % 3 == 0 ? 40u : (uint32_t)sizeof(pulse_body);
}

#endif
