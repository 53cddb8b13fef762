/* A slot that is claimed, lived in and claimed again, beside another host, both after one lease: sections 3 to 5.
 *
 * rounds.pml, note.pml and death.pml each take for granted what the others search; here it is together, as small
 * as it can be.  Incarnations 0 and 2 claim slot 0, beat once, take the lease exclusively, leave or die;
 * incarnation 1 lives in slot 1, buries a claim that seems silent, and takes the same lease.  Until its first
 * heartbeat has completed a claimer may stand still with its clock, for as long as it likes; from then on its
 * lifetime may end at any step, and only when its holders are stopped is it dead to others.  One disk.
 *
 *   -DMORTAL  incarnation 1's lifetime may end, too
 */
#define SLOTS 2
#define ALL 3
#define ROUNDS 4
#define NUMBER byte
#ifndef TRIES
#define TRIES 1
#endif
#define NOBODY 255
#define FREE 1
#define CLAIMING 2
#define ACTIVE 3

/* slot 0 on disk */
byte who = NOBODY, generation, state = FREE;
byte moves;               /* the record's counter */
byte note;                /* generation in the slot's notice blocks */
byte notice;              /* incarnation 1's, about slot 0: 0, or a generation */

/* what is true */
bool born[ALL];           /* it owns its slot */
bool over[ALL];           /* its lifetime has run out */
bool gone[ALL];           /* it left */
bool trying[ALL];
bool died[ALL];           /* its holders are stopped, and others may know */
bool silent[ALL];
bool holder[ALL];
bool dead[ALL];           /* what incarnation 1 holds dead, and others of it */
byte mine[ALL];           /* generation, of slot 0 */
byte buried;
byte saved;               /* no resumes here */
byte top_exclusive;

#include "round_rules.pml"

/* A living owner would have overwritten the claim before T_dead, and by then a dead one's holders are stopped. */
#define rests(c) (!born[c] || gone[c] || died[c])

#define ours (who == k && generation == mine[k] && state == CLAIMING)

inline write(what)
{
    who = k; generation = mine[k]; state = what; moves++
}

inline join()
{
    assert(!((born[0] && !over[0] && !gone[0]) || (born[2] && !over[2] && !gone[2]))); /* one owner */
    born[k] = true
}

inline hear_of_deaths()
{
    dead[0] = died[0] || (mine[0] && mine[0] <= buried);
    dead[1] = died[1];
    dead[2] = died[2] || (mine[2] && mine[2] <= buried)
}

/* One exclusive taking and its release. */
inline round()
{
    atomic { may_act(k) || over[k] ->
        if :: over[k] -> goto finished :: else fi;
        look();
        want = EXCLUSIVE; own_last = last; raise()
    }
raised:
    if
    :: atomic { may_act(k) && flying[k] -> land() }
    :: atomic { over[k] -> goto finished }
    fi;
    atomic {
        s = 1 - slot_of(k); see(s); s = 0;
        hear_of_deaths();
        weigh();
        decide();
        dead[0] = false; dead[1] = false; dead[2] = false;
        higher = false; lower = false; cut = false; top_last = 0; own_last = 0;
        if
        :: verdict == FINISHED -> verdict = 0; goto finished
        :: verdict == AGAIN && top / SLOTS < ROUNDS -> verdict = 0; raise(); goto raised
        :: verdict == TAKEN -> verdict = 0;
            grant();
            assert(token > top_exclusive);
            top_exclusive = token;
            assert(!holder[0] && !holder[1] && !holder[2]);
            holder[k] = true; trying[k] = false
        :: else -> verdict = 0
        fi
    }
    atomic { may_act(k) || over[k] ->
        if
        :: over[k] -> goto finished
        :: else -> holder[k] = false; hold = 0; mode = NONE; token = 0; want = NONE; lower_flag()
        fi
    }
    if
    :: atomic { may_act(k) && flying[k] -> land(); trying[k] = false }
    :: atomic { over[k] -> goto finished }
    fi
}

proctype claimer(byte k)
{
    byte noted, seen_note;
    byte ballot, hold, mode, last, top, token;
    bool known;
    byte tries, s, verdict, want, top_last, own_last;
    bool resuming, higher, lower, above, cut;
    byte seen_hold[SLOTS], seen_who[SLOTS];
table:
    atomic { /* claim.c:start_table, choose: free, or dead and drained */
#ifdef NO_D4
        state == FREE || (state == ACTIVE && died[who]) ->
#else
        state == FREE || (state == ACTIVE && died[who] && !flying[who]) ->
#endif
        mine[k] = generation + 1
    }
    atomic {
        noted = note;
#ifndef NO_S18_TABLE
        if
        :: note >= mine[k] && note != seen_note -> seen_note = note; goto table
        :: else
        fi;
#endif
        mine[k] = (note >= mine[k] -> note + 1 : mine[k]);
        mine[k] = (notice >= mine[k] -> notice + 1 : mine[k]);
        seen_note = 0
    }
    atomic { write(CLAIMING) }
    atomic { if :: ours && note <= noted -> noted = 0 :: else -> goto void fi }
#ifndef NO_S18_NOTE
    note = mine[k];
    atomic { if :: ours :: else -> goto void fi }
#endif
    atomic { write(ACTIVE) }
#ifdef NO_S17
    atomic { join(); goto lives }
#endif
beat: /* the first heartbeat: own record, then notices */
    atomic { write(ACTIVE) }
    atomic {
        if
        :: who != k && state == CLAIMING -> goto beat
        :: (who == k || state != CLAIMING) && (notice >= mine[k] || who != k) -> goto void
        :: else -> join()
        fi
    }
lives:
    do
    :: atomic { tries < TRIES && may_act(k) -> tries++ } round()
    :: atomic { may_act(k) && !flying[k] -> gone[k] = true; write(FREE); goto finished } /* it leaves */
    :: atomic { over[k] -> goto finished }
    od;
void:
    silent[k] = true;
finished:
    atomic {
        ballot = 0; hold = 0; mode = 0; last = 0; top = 0; token = 0; known = false; tries = 0; want = 0;
        noted = 0; seen_note = 0
    }
}

/* Claimers fall asleep while they claim. */
proctype sleep(byte k)
{
    atomic { !born[k] && who == k && state == CLAIMING -> silent[k] = true }
}

/* A lifetime ends; later all holders are stopped. */
proctype fate(byte k)
{
    atomic { born[k] && !over[k] && !gone[k] -> over[k] = true }
    atomic { holder[k] = false; died[k] = true }
end:
    do
    :: atomic { flying[k] && died[k] -> land() }
    :: atomic { flying[k] && died[k] -> forget_air() }
    od
}

proctype other(byte k)
{
    byte seen_moves, seen, seen_by;
    byte ballot, hold, mode, last, top, token;
    bool known;
    byte tries, s, verdict, want, top_last, own_last;
    bool resuming, higher, lower, above, cut;
    byte seen_hold[SLOTS], seen_who[SLOTS];
    born[k] = true;
    do
    :: atomic { buried == 0 && notice == 0 && state == CLAIMING && silent[who] && rests(0) && rests(2) && may_act(k) ->
        seen_by = who; seen_moves = moves; seen = generation }
        atomic { may_act(k) || over[k] -> if :: over[k] -> goto finished :: else -> notice = seen fi }
        atomic {
            if
            :: over[k] -> goto finished
            :: !over[k] && who == seen_by && moves == seen_moves -> buried = seen
            :: else
            fi;
            seen_by = 0; seen_moves = 0; seen = 0
        }
    :: atomic { tries < TRIES && may_act(k) -> tries++ } round()
    :: atomic { over[k] -> goto finished }
    od;
finished:
    atomic {
        ballot = 0; hold = 0; mode = 0; last = 0; top = 0; token = 0; known = false; tries = 0; want = 0;
        seen_by = 0; seen_moves = 0; seen = 0
    }
}

init
{
    atomic {
        run claimer(0); run claimer(2); run other(1);
        run sleep(0); run sleep(2);
        run fate(0); run fate(2);
#ifdef MORTAL
        run fate(1)
#endif
    }
}
