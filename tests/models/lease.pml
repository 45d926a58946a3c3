/* lease.pml: a lease handed over, while its holder, its host's epoch or the gateway may end between any two stores.
 *
 * One slot (endpoint, class), two controls, a gateway whose slot is durable and whose fence page is stored after each
 * commit, a way down on which messages may overtake each other (the context's classes), a host whose effects take time.
 * A step of the slot's table and what it tells is one commit; a question on its way and its being noted is one, too
 * (relay.pml).
 * Claims: no effect with token t starts after a token t' > t was granted; none of t is under way when t' is granted; a
 * token is granted once; a renewal succeeds only before the end of the term.
 *
 * Searches: DEATHS=2
 * Long searches: DEATHS=2,TOKENS=6
 * Planted faults: NO_RAISE NO_QUIET NO_TOKEN RAISE_AFTER_ASK NO_FENCES_AT_START GRANT_BLINDLY
 *     TOKEN_FORGOTTEN LATE_RENEWAL EPOCH_UNSEEN
 */
#ifndef DEATHS
#define DEATHS 1 /* of the gateway */
#endif
#ifndef TOKENS
#define TOKENS 5 /* as many are taken */
#endif
#ifndef COMMANDS
#define COMMANDS 2
#endif
#define EPOCHS   1 /* it moves so often */
#define MESSAGES 3 /* on the way down */

#define FREE    0
#define HELD    1
#define FENCING 2
#define CLOSED  3

/* The slot, durable. `late`: the holder's term is over. */
byte state;
byte holder; /* 1, 2 */
byte token;
byte next_token = 1;
byte waits; /* the contender that it is freed for, 0 = none */
bit asked;
byte seen_epoch;
bit late;

/* Shared pages: the gateway's fence word, the host's epoch. */
byte fence;
bit open;
byte epoch;

/* The way down: commands and questions by their token, 0 = none; the answer up. */
byte command[MESSAGES];
byte stamp[MESSAGES]; /* the command's epoch */
byte question[MESSAGES];
chan answer = [2] of { byte };

byte under_way; /* token of the effect, 0 = none */
byte granted;   /* the newest token that was */
byte deaths, commands;

#define MAY_DIE if :: skip :: deaths < DEATHS -> deaths++; goto start fi
#define ROOM    (command[0] + question[0] == 0 || command[1] + question[1] == 0 || command[2] + question[2] == 0)
#define MORE    (next_token < TOKENS)

inline blank(at) {
    if
    :: command[0] + question[0] == 0 -> at = 0
    :: else ->
        if
        :: command[1] + question[1] == 0 -> at = 1
        :: else -> at = 2
        fi
    fi
}

/* ---- the slot's steps: each is one commit; `tell` is what leaves with it ----------------------------- */

inline take_token() {
    token = next_token;
    next_token++
}

inline hold(who) {
    assert(under_way == 0);
    take_token();
    assert(token > granted);
    granted = token;
    state = HELD;
    holder = who;
    waits = 0;
    asked = 0;
    late = 0
}

inline raise(to) {
    take_token();
    state = to;
    holder = 0;
    waits = 0;
    asked = 0
}

/* ---- the fence page, from the slot ------------------------------------------------------------------- */

inline set_fence() {
    if
    :: state == HELD -> d_step { fence = token; open = 1 }
#ifndef NO_RAISE
    :: else -> d_step { fence = token; open = 0 }
#else
    :: else -> skip
#endif
    fi
}

inline ask() {
    d_step { asked = 1; blank(i); question[i] = token }
}

active proctype gateway() {
    byte who, id, i;
start:
    skip;
#ifdef TOKEN_FORGOTTEN
    if :: deaths > 0 -> next_token = 1 :: else fi;
#endif
#ifndef NO_FENCES_AT_START
    set_fence();
#endif
    do
    /* ACQUIRE */
    :: MORE ->
        if :: who = 1 :: who = 2 fi;
        if
        :: state == FREE -> d_step { hold(who) }; MAY_DIE; set_fence()
        :: state == HELD && holder != who ->
            d_step { raise(FENCING); waits = who };
            MAY_DIE;
#ifdef RAISE_AFTER_ASK
            if :: ROOM -> ask() :: else fi;
            MAY_DIE;
#endif
            set_fence()
        :: state == FENCING && waits == 0 -> waits = who
        :: else
        fi
    /* RENEW */
#ifdef LATE_RENEWAL
    :: atomic { state == HELD -> assert(!late) }
#else
    :: atomic { state == HELD && !late -> assert(!late) }
#endif
    /* RELEASE, GONE, EXPIRED */
    :: state == HELD && MORE -> d_step { raise(FENCING) }; MAY_DIE; set_fence()
    /* the question to the host */
#ifdef NO_QUIET
    :: state == FENCING && MORE ->
        d_step { if :: waits -> hold(waits) :: else -> state = FREE fi }; MAY_DIE; set_fence()
#endif
    :: state == FENCING && !asked && ROOM -> ask()
    /* QUIET */
    :: answer ? id ->
        if
        :: asked && id == token && state == FENCING && (waits == 0 || MORE) ->
            d_step { if :: waits -> hold(waits) :: else -> state = FREE; asked = 0 fi }
            MAY_DIE;
            set_fence()
        :: asked && id == token && state == CLOSED -> d_step { state = FREE; asked = 0 }
        :: else
        fi
    /* UNQUIET: no answer within the bound */
    :: state == FENCING && asked ->
#ifdef GRANT_BLINDLY
        d_step { waits = 0; state = FREE; asked = 0 }
#else
        d_step { waits = 0; state = CLOSED }
#endif
    /* EPOCH */
    :: seen_epoch != epoch && MORE ->
        if
        :: state != FREE -> d_step { raise(FREE) }; MAY_DIE; set_fence()
        :: else
        fi;
        seen_epoch = epoch
    /* A command that is admitted: by the slot, so for the epoch that the slot has seen. */
    :: d_step { state == HELD && !late && commands < COMMANDS && ROOM ->
            commands++;
            blank(i);
            command[i] = token;
#ifdef EPOCH_UNSEEN
            stamp[i] = epoch
#else
            stamp[i] = seen_epoch
#endif
        }
    :: deaths < DEATHS -> deaths++; goto start
    :: !MORE -> break
    od
}

/* The holder's term ends at any time. */
active proctype clock() {
    do
    :: state == HELD && !late -> d_step { late = 1 }
    :: !MORE -> break
    od
}

#ifdef NO_TOKEN
#define ALLOWED(t) (s == epoch && open)
#else
#define ALLOWED(t) (s == epoch && open && fence == (t))
#endif

#define START(t) d_step { assert((t) >= granted); under_way = (t) }

active proctype host() {
    byte t, s, i, draining; /* the question that is answered once nothing is under way */
end:
    do
    :: d_step { under_way == 0 && (command[0] || command[1] || command[2]) ->
            if
            :: command[0] -> i = 0
            :: !command[0] && command[1] -> i = 1
            :: !command[0] && !command[1] -> i = 2
            fi;
            t = command[i];
            s = stamp[i];
            stamp[i] = 0;
            command[i] = 0 }
        atomic { if :: ALLOWED(t) -> START(t) :: else fi }
    :: under_way -> d_step { under_way = 0 }
    :: draining == 0 && (question[0] || question[1] || question[2]) ->
        d_step {
            if
            :: question[0] -> i = 0
            :: !question[0] && question[1] -> i = 1
            :: !question[0] && !question[1] -> i = 2
            fi;
            draining = question[i];
            question[i] = 0 }
    :: draining && under_way == 0 && nfull(answer) -> answer ! draining; draining = 0
    /* its address space ends, or it dies and a successor takes its place: no effect goes on, what it was asked is asked
     * again by the epoch's end */
    :: epoch < EPOCHS -> d_step { under_way = 0; draining = 0; epoch++ }
    od
}
