/* relay.pml: a relay that may be killed between any two stores, between two inputs and one output: it queues, coalesces,
 * drops, passes through; its successor goes on from the private state D and from the ring that was left.
 *
 * Events lie in the inputs for good, and acc[link] says how far they are decided; two queue entries, an output ring of
 * two slots, up to DEATHS kills, also of its successors while they recover. An entry, and what is published, is one word:
 *     used 1 | link 1 | lost 1 | first 2 | last 2 | seq 3        the events first..last of a link, as one
 * Claims, all held against what the consumer reads: each input's events come once, in order, none missing (a LOST
 * counts for those it stands for); no sequence number twice; no body is read after its release, each is released; and
 * it comes to an end (no invalid end state).
 *
 * Searches: DEATHS=3,EVENTS0=2 DEATHS=1,EVENTS0=3
 * Long searches: DEATHS=2,EVENTS0=3
 * Planted faults: ACC_FIRST NO_REDO TORN_REDO NO_LOOK_AT_LAST GENERATION_FIRST DISPATCH_AGAIN
 */
#ifndef DEATHS
#define DEATHS 2
#endif
#define GENS    (DEATHS + 1)
#define SLOTS   2
#ifndef EVENTS0
#define EVENTS0 3
#endif
#define EVENTS(i) (EVENTS0 - (i)) /* of input 1 one less than of input 0 */
#define BODY(i, p) (1 << ((i) * 3 + (p)))
#define BODIES  ((1 << EVENTS(0)) - 1 + (((1 << EVENTS(1)) - 1) << 3))

#define WORD(i, first, last, lost, seq) (1 | ((i) << 1) | ((lost) << 2) | ((first) << 3) | ((last) << 5) | ((seq) << 7))
#define LINK(w)  (((w) >> 1) & 1)
#define LOST(w)  (((w) >> 2) & 1)
#define FIRST(w) (((w) >> 3) & 3)
#define LAST(w)  (((w) >> 5) & 3)
#define SEQ(w)   ((w) >> 7)

/* D, the private state that a successor finds. */
byte acc[2];
byte next_seq;
short entry[2];
byte op; /* of the redo record; its resulting values follow */
byte op_link, op_acc, op_k, op_k2, op_seq, op_q;
short op_entry, op_entry2;
byte op_body;
byte generation;

/* The output rings, one per incarnation; the consumer's cursor; the released bodies. */
byte base[GENS];
byte turn[GENS * SLOTS];
short word[GENS * SLOTS];
byte cursor;
byte released;
byte deaths;

#define AT(g, q) ((g) * SLOTS + ((q) % SLOTS))
#define STEP(store) if :: d_step { store } :: deaths < DEATHS -> deaths++; goto dead fi

/* Body first, then the turn: as one, since nobody looks at a body without its turn (ring.pml). */
#define PUBLISH(q, w) word[AT(generation, q)] = w; turn[AT(generation, q)] = (q) + 1

#define IS_OF(k, i) (entry[k] != 0 && LINK(entry[k]) == (i))
#define NONE_OF(i)  (!IS_OF(0, i) && !IS_OF(1, i))
#define FREE        (entry[0] == 0 -> 0 : 1)
#define HAS_FREE    (entry[0] == 0 || entry[1] == 0)
#define OLDEST_OF(i) (IS_OF(0, i) && (!IS_OF(1, i) || SEQ(entry[0]) < SEQ(entry[1])) -> 0 : 1)
#define NEWEST_OF(i) (IS_OF(0, i) && (!IS_OF(1, i) || SEQ(entry[0]) > SEQ(entry[1])) -> 0 : 1)
#define ROOM (tail - cursor < SLOTS)

/* What no longer means anything is zeroed, so that states that differ in nothing else are one. */
#define FORGET      i = 0; k = 0; p = 0; w = 0
#define FORGET_REDO op_link = 0; op_acc = 0; op_k = 0; op_k2 = 0; op_seq = 0; op_q = 0; op_entry = 0; op_entry2 = 0; op_body = 0

#define ACCEPT   1
#define COALESCE 2 /* NEWEST is the same: the last entry takes the event in */
#define OLDEST   3
#define DISPATCH 4

/* The redo record: its values, then op, which is what commits it. */
#ifdef TORN_REDO
#define COMMIT(which, values) STEP(op = which;); STEP(values)
#else
#define COMMIT(which, values) STEP(values op = which;)
#endif

active proctype relay() {
    byte tail, i, k, p;
    short w;
ready:
    do
    :: acc[0] == EVENTS(0) && acc[1] == EVENTS(1) && entry[0] == 0 && entry[1] == 0 -> goto done
    :: else ->
        atomic {
            if
            :: acc[0] < EVENTS(0) || !NONE_OF(0) -> i = 0
            :: acc[1] < EVENTS(1) || !NONE_OF(1) -> i = 1
            fi;
            p = acc[i]
        }
        if
        :: p < EVENTS(i) && NONE_OF(i) && ROOM -> /* pass it through */
#ifdef ACC_FIRST
            STEP(acc[i] = p + 1;);
#endif
            STEP(PUBLISH(tail, WORD(i, p, p, 0, next_seq));); /* this commits */
            tail++;
            STEP(next_seq = next_seq + 1;);
#ifndef ACC_FIRST
            STEP(acc[i] = p + 1; FORGET;)
#endif
        :: p < EVENTS(i) && HAS_FREE ->
            COMMIT(ACCEPT, op_link = i; op_acc = p + 1; op_k = FREE; op_entry = WORD(i, p, p, 0, next_seq);
                   op_seq = next_seq + 1;);
            goto redo
        :: p < EVENTS(i) && !NONE_OF(i) -> /* into the channel's last entry: coalesced, or lost with it */
            k = NEWEST_OF(i);
            w = entry[k];
            COMMIT(COALESCE, op_link = i; op_acc = p + 1; op_k = k;
                   op_entry = WORD(i, FIRST(w), p, LOST(w), SEQ(w));
                   op_body = (LOST(w) -> BODY(i, p) : BODY(i, LAST(w))););
            goto redo
        :: p < EVENTS(i) && !NONE_OF(i) && HAS_FREE && !LOST(entry[OLDEST_OF(i)]) ->
            k = OLDEST_OF(i);
            w = entry[k];
            COMMIT(OLDEST, op_link = i; op_acc = p + 1; op_k2 = k;
                   op_entry2 = WORD(i, FIRST(w), LAST(w), 1, SEQ(w)); op_k = FREE;
                   op_entry = WORD(i, p, p, 0, next_seq); op_seq = next_seq + 1; op_body = BODY(i, LAST(w)););
            goto redo
        :: !NONE_OF(i) && ROOM ->
            k = OLDEST_OF(i);
            COMMIT(DISPATCH, op_k = k; op_q = tail; op_entry = entry[k];);
            goto redo
        :: !ROOM -> (ROOM)
        fi
    od;

redo: /* Blind stores of resulting values: doing them twice does no harm. */
    skip;
    d_step { FORGET }
    if
    :: op == ACCEPT ->
        STEP(entry[op_k] = op_entry;);
        STEP(next_seq = op_seq;);
        STEP(acc[op_link] = op_acc;)
    :: op == COALESCE ->
        STEP(entry[op_k] = op_entry;);
        STEP(acc[op_link] = op_acc;);
        STEP(released = released | op_body;)
    :: op == OLDEST ->
        STEP(entry[op_k2] = op_entry2;);
        STEP(entry[op_k] = op_entry;);
        STEP(next_seq = op_seq;);
        STEP(acc[op_link] = op_acc;);
        STEP(released = released | op_body;)
    :: op == DISPATCH ->
#ifdef DISPATCH_AGAIN
        STEP(PUBLISH(tail, op_entry););
        tail++;
#else
        if
        :: tail <= op_q ->
            STEP(PUBLISH(op_q, op_entry););
            tail = op_q + 1
        :: else
        fi;
#endif
        STEP(entry[op_k] = 0;)
    fi;
    STEP(op = 0; FORGET_REDO;);
    goto ready;

dead:
    skip;
#ifdef NO_REDO
    op = 0;
#endif
    d_step { /* where the ring ends */
        FORGET;
        tail = base[generation];
        do
        :: turn[AT(generation, tail)] == tail + 1 -> tail++
        :: else -> break
        od;
        /* It may have gone over the base: then a later turn stands there. */
        if
        :: turn[generation * SLOTS] > tail -> tail = turn[generation * SLOTS]
        :: else
        fi;
        if
        :: turn[generation * SLOTS + 1] > tail -> tail = turn[generation * SLOTS + 1]
        :: else
        fi
    }
    k = generation;
#ifdef GENERATION_FIRST
    STEP(base[generation + 1] = tail; generation = generation + 1;);
#endif
#ifndef NO_LOOK_AT_LAST
    if
    :: tail > base[k] ->
        w = word[AT(k, tail - 1)];
        i = LINK(w);
        if
        :: FIRST(w) == acc[i] -> /* published, and not yet noted */
            STEP(next_seq = SEQ(w) + 1;);
            STEP(acc[i] = FIRST(w) + 1;)
        :: else
        fi
    :: else
    fi;
#endif
#ifndef GENERATION_FIRST
    STEP(base[generation + 1] = tail; generation = generation + 1;);
#endif
    d_step { FORGET }
    if
    :: op != 0 -> goto redo
    :: else -> goto ready
    fi;
done:
    skip
}

active proctype consumer() {
    byte g, expect[2], i;
    short w, seqs;
    do
    :: expect[0] == EVENTS(0) && expect[1] == EVENTS(1) -> break
    :: g < generation && cursor == base[g + 1] -> g++
    :: !(g < generation && cursor == base[g + 1]) && turn[AT(g, cursor)] == cursor + 1 ->
        d_step {
            w = word[AT(g, cursor)];
            i = LINK(w);
            assert(FIRST(w) == expect[i]);
            expect[i] = LAST(w) + 1;
            assert((seqs & (1 << SEQ(w))) == 0);
            seqs = seqs | (1 << SEQ(w));
            if
            :: LOST(w)
            :: else ->
                assert((released & BODY(i, LAST(w))) == 0);
                released = released | BODY(i, LAST(w))
            fi;
            cursor++;
            w = 0; i = 0
        }
    od;
    assert(released == BODIES)
}
