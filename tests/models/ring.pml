/* ring.pml: one ring with index wrap, events of one and two slots, a producer that may die between any two stores, its
 * successors with rings of their own, a consumer that drains the chain (rings/ring.h, ring_out.c, ring_end.c, ring_in.c).
 *
 * Each statement is one store or load of shared memory; stores of one process are seen in order (x86, and process
 * death). Event k takes LEN(k) slots, each of which bears k. Claims: the consumer sees 0, 1, 2, ... N-1, each once and
 * whole; it never meets nonsense; it never waits for ever (an invalid end state).
 *
 * Planted faults: TURN_FIRST HEAD_FIRST BASE_IS_CURSOR NO_LOOK_BACK ROOM_TOO_MUCH SWITCH_EARLY
 */
#define SLOTS   4
#define N       6
#define DEATHS  2
#define GENS    (DEATHS + 1)
#define MORE    64
#define LEN(k)  (1 + ((k) % 2))
#define AT(g,q) ((g) * SLOTS + ((q) % SLOTS))

byte turn[GENS * SLOTS];
byte body[GENS * SLOTS];
byte base[GENS];
byte linked = 1; /* rings that the consumer has been given */
byte cursor;     /* the shared one */
byte deaths;

/* One store of the producer; or its death just before. */
#define STEP(store) if :: store :: deaths < DEATHS -> deaths++; goto dead fi

#ifdef ROOM_TOO_MUCH
#define ROOM (SLOTS + 1)
#else
#define ROOM SLOTS
#endif

active proctype producer() {
    byte g, next, tail, q, n, seen;
alive:
    do
    :: next == N -> break
    :: else ->
        n = LEN(next);
        /* Room: the cursor is never below the base as far as this ring is concerned. */
        if
        :: cursor > base[g] -> seen = cursor
        :: else -> seen = base[g]
        fi;
        if
        :: tail + n > seen + ROOM -> (cursor > seen) /* waits for room; the bell is doorbell.pml's */
        :: else ->
#ifdef TURN_FIRST
            if
            :: n == 2 -> STEP(turn[AT(g, tail + 1)] = (tail + 2) + MORE)
            :: else
            fi;
            STEP(turn[AT(g, tail)] = tail + 1);
#endif
            if
            :: n == 2 ->
                STEP(body[AT(g, tail + 1)] = next);
#ifndef HEAD_FIRST
                STEP(turn[AT(g, tail + 1)] = (tail + 2) + MORE)
#endif
            :: else
            fi;
            STEP(body[AT(g, tail)] = next);
            STEP(turn[AT(g, tail)] = tail + 1);
#ifdef HEAD_FIRST
            if
            :: n == 2 -> STEP(turn[AT(g, tail + 1)] = (tail + 2) + MORE)
            :: else
            fi;
#endif
            tail = tail + n;
            next++
        fi
    od;
    goto done;

dead: /* The successor knows nothing but what lies in memory. Nobody else writes there, and the cursor only helps. */
    skip;
    d_step {
        tail = 0; next = 0; n = 0; seen = 0;
        q = (cursor > base[g] -> cursor : base[g]);
        do
        :: q < SLOTS + (cursor > base[g] -> cursor : base[g]) && turn[AT(g, q)] == q + 1 ->
            next = body[AT(g, q)] + 1;
            n = 1;
            q = q + LEN(body[AT(g, q)])
        :: else -> break
        od;
        tail = q;
#ifndef NO_LOOK_BACK
        if
        :: n == 0 && tail > base[g] ->
            if
            :: turn[AT(g, tail - 1)] == tail -> next = body[AT(g, tail - 1)] + 1
            :: turn[AT(g, tail - 1)] == tail + MORE -> next = body[AT(g, tail - 2)] + 1
            fi;
            n = 1
        :: else
        fi;
#endif
        if
        :: n == 0 -> /* this one published nothing: what its predecessor left is known from its base */
            q = base[g];
            do
            :: next < N && q > 0 -> q = q - LEN(next); next++
            :: else -> break
            od
        :: else
        fi;
#ifdef BASE_IS_CURSOR
        tail = cursor;
#endif
        g++;
        base[g] = tail;
        q = 0; n = 0
    }
    linked = g + 1; /* Mapped, then Peer */
    goto alive;
done:
    skip
}

active proctype consumer() {
    byte g, at, expect, t, k, shape;
    do
    :: expect == N -> break
    :: else ->
        do
#ifdef SWITCH_EARLY
        :: g + 1 < linked -> g++; at = base[g]
#else
        :: g + 1 < linked && at >= base[g + 1] -> g++
#endif
        :: else -> break
        od;
        t = turn[AT(g, at)];
        if
        :: t == at + 1 ->
            k = body[AT(g, at)];
            assert(k == expect);
            if
            :: LEN(k) == 2 ->
                assert(turn[AT(g, at + 1)] == (at + 2) + MORE);
                assert(body[AT(g, at + 1)] == expect)
            :: else
            fi;
            at = at + LEN(k);
            expect++;
            if
            :: cursor = at /* released now */
            :: expect < N && at < cursor + SLOTS - 1 -> skip /* or with a later one */
            fi
        :: else ->
            /* Nothing but what the lap before left there. */
            assert((at < base[g] + SLOTS && t == 0) ||
                   (at >= base[g] + SLOTS && (t == at + 1 - SLOTS || t == at + 1 - SLOTS + MORE)));
            cursor = at;
            (turn[AT(g, at)] == at + 1 || (g + 1 < linked && at >= base[g + 1]))
        fi
    od
}
