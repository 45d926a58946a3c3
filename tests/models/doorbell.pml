/* doorbell.pml: sleeping and waking over a ring, both ways, with explicit store buffers (x86-TSO, after Sewell et al.,
 * "x86-TSO: a rigorous and usable programmer's model", 2010): a store is seen by the others when its buffer drains, a
 * load looks at memory, a fence waits for one's buffer to be empty (rings/ring_out.c: flush, want_room; ring_in.c:
 * sleep, release).
 *
 * Claim: nobody sleeps for ever (an invalid end state): every event is consumed.
 *
 * Planted faults: NO_FENCE_FLUSH NO_FENCE_SLEEP NO_RECHECK_SLEEP NO_FENCE_RELEASE NO_FENCE_WANT NO_RECHECK_WANT
 *                 LOOK_THEN_PUBLISH CLEAR_LATE SAME_NAP
 *                 WANT_MORE
 */
#define N     5
#define SLOTS 2

/* Shared words: tail stands for the turns. */
#define TAIL   0
#define WANT   1
#define CURSOR 2
#define NAP    3
byte mem[4];
bool data_bell, room_bell; /* eventfds: seen at once */

chan of_producer = [2] of { byte, byte };
chan of_consumer = [2] of { byte, byte };

active proctype drain_producer() {
    byte where, what;
end:
    do
    :: atomic { of_producer?where,what -> mem[where] = what; where = 0; what = 0 }
    od
}

active proctype drain_consumer() {
    byte where, what;
end:
    do
    :: atomic { of_consumer?where,what -> mem[where] = what; where = 0; what = 0 }
    od
}

#define FENCE(buffer) (empty(buffer))

active proctype producer() {
    byte tail, unflushed, nap, rung;
    do
    :: tail == N && unflushed == 0 -> break
    :: tail < N && tail < mem[CURSOR] + SLOTS -> /* publish */
        tail++;
        unflushed = 1;
        of_producer!TAIL,tail
    :: unflushed == 1 -> /* the end of a turn: flush */
#ifdef LOOK_THEN_PUBLISH
        nap = mem[NAP];
#endif
#ifndef NO_FENCE_FLUSH
        FENCE(of_producer);
#endif
#ifndef LOOK_THEN_PUBLISH
        nap = mem[NAP];
#endif
        unflushed = 0;
        if
        :: nap != 0 && nap != rung ->
            rung = nap;
            data_bell = true
        :: else
        fi
    :: tail < N && tail >= mem[CURSOR] + SLOTS && unflushed == 0 -> /* full: want_room */
        of_producer!WANT,tail+1-SLOTS; /* the cursor that makes room */
#ifndef NO_FENCE_WANT
        FENCE(of_producer);
#endif
        if
#ifndef NO_RECHECK_WANT
        :: tail < mem[CURSOR] + SLOTS -> of_producer!WANT,0
        :: else ->
#else
        :: true ->
#endif
            room_bell; /* sleeps */
            room_bell = false
        fi
    od
}

active proctype consumer() {
    byte at, shared, naps, want;
    do
    :: at == N && shared == N -> break
    :: at < mem[TAIL] -> at++ /* consume */
    :: shared != at -> /* the end of a turn: release */
        shared = at;
        of_consumer!CURSOR,at;
#ifndef NO_FENCE_RELEASE
        FENCE(of_consumer);
#endif
        want = mem[WANT];
        if
#ifdef WANT_MORE
        :: want != 0 && at > want + 1 -> room_bell = true
#else
        :: want != 0 && at >= want -> room_bell = true
#endif
        :: else
        fi
    :: at < N && shared == at && at >= mem[TAIL] -> /* nothing there: sleep */
#ifdef SAME_NAP
        naps = 1;
#else
        naps++;
#endif
        of_consumer!NAP,naps;
#ifndef NO_FENCE_SLEEP
        FENCE(of_consumer);
#endif
        if
#ifndef NO_RECHECK_SLEEP
        :: at < mem[TAIL] -> of_consumer!NAP,0
        :: else ->
#else
        :: true ->
#endif
#ifdef CLEAR_LATE
            data_bell = false;
#endif
            data_bell; /* sleeps */
            data_bell = false;
            of_consumer!NAP,0
        fi
    od
}
