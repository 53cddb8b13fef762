/* The rules of a lease round: what rounds.pml searches, and what trace.pml holds the compiled core to.
 *
 * They work on names that the including model declares: of the incarnation k (ballot, hold, mode,
 * last, top, token, known: what dpx_lease knows between rounds), of its present round (want,
 * resuming, top_last, own_last, higher, lower, cut), and of the world (dead, gone, over, born,
 * trying, saved).  NUMBER is the type of ballots and tokens.
 */
#define slot_of(k) ((k) % SLOTS)

#define NONE 0
#define SHARED 1
#define EXCLUSIVE 2

/* What a judging read leads to, in the order in which it is asked. */
#define FINISHED 1 /* the lifetime test after the last read */
#define GIVE_WAY 2
#define LOWER 3    /* read again, or void */
#define AGAIN 4    /* raise again, higher, without lowering the flag in between */
#define STALE 5
#define TAKEN 6

typedef block_t {
    byte who;    /* 1 + incarnation */
    NUMBER ballot;
    NUMBER hold;
    byte mode;
    NUMBER last;   /* last_exclusive */
}

block_t disk[SLOTS];
block_t air[ALL];      /* the write in flight: one at most (rule L9) */
bool flying[ALL];

#define may_act(k) (born[k] && !over[k] && !gone[k])
#ifdef NO_L4 /* the clock is not read again before "taken" */
#define may_take(k) true
#else
#define may_take(k) (!over[k])
#endif

inline issue(new_hold, new_mode, new_last)
{
    air[k].who = k + 1;
    air[k].ballot = ballot;
    air[k].hold = new_hold;
    air[k].mode = new_mode;
    air[k].last = new_last;
    flying[k] = true;
}

inline forget_air()
{
    air[k].who = 0; air[k].ballot = 0; air[k].hold = 0; air[k].mode = 0; air[k].last = 0;
    flying[k] = false;
}

inline land()
{
    disk[slot_of(k)].who = air[k].who;
    disk[slot_of(k)].ballot = air[k].ballot;
    disk[slot_of(k)].hold = air[k].hold;
    disk[slot_of(k)].mode = air[k].mode;
    disk[slot_of(k)].last = air[k].last;
    forget_air();
}

/* round_judge.c:carry_on, and what a Look learns of ballots. */
inline look()
{
#ifndef NO_L1
    if
    :: !known ->
        ballot = disk[slot_of(k)].ballot;
        last = disk[slot_of(k)].last;
    :: else
    fi;
#endif
    known = true;
    s = 0;
    do
    :: s < SLOTS ->
        if
        :: s != slot_of(k) && disk[s].ballot > top -> top = disk[s].ballot
        :: else
        fi;
        s++
    :: else -> break
    od;
    s = 0
}

/* round_judge.c:dpx_judge_ballot and dpx_content_raise.  Rounds of SLOTS ballots each. */
inline raise()
{
    top = (top > ballot -> top : ballot);
    ballot = (top / SLOTS + 1) * SLOTS + slot_of(k);
    top = ballot;
    issue(ballot, want, last);
    if
    :: want == EXCLUSIVE -> air[k].last = ballot; trying[k] = true
    :: else
    fi
}

/* The read of the area sees one block after the other. */
inline see(s)
{
    if
    :: disk[s].ballot > top -> top = disk[s].ballot
    :: else
    fi;
    if
    :: disk[s].last > top_last -> top_last = disk[s].last
    :: else
    fi;
    seen_hold[s] = 0; seen_who[s] = 0;
    if
#ifdef BLIND_TO_SHARED
    :: disk[s].hold && disk[s].mode == EXCLUSIVE ->
#else
    :: disk[s].hold && (disk[s].mode == EXCLUSIVE || want == EXCLUSIVE) ->
#endif
        seen_hold[s] = disk[s].hold;
        seen_who[s] = disk[s].who
    :: else
    fi
}

/* area.c:scan_flag.  Whoever has not heard of a death yet takes the flag for a living one's. */
inline weigh()
{
    s = 0;
    do
    :: s < SLOTS ->
        if
        :: s == slot_of(k) || seen_hold[s] == 0
        :: s != slot_of(k) && seen_hold[s] && dead[seen_who[s] - 1] ->
            cut = true; above = above || seen_hold[s] > ballot
        :: s != slot_of(k) && seen_hold[s] && !gone[seen_who[s] - 1] ->
            if
            :: seen_hold[s] > ballot -> higher = true
            :: else -> lower = true
            fi
        fi;
        seen_hold[s] = 0; seen_who[s] = 0;
        s++
    :: else -> break
    od;
    s = 0
}

/* round_judge.c:dpx_judge and stale, after weigh(). */
inline decide()
{
    if
    :: !may_take(k) -> verdict = FINISHED
#ifdef NO_GIVE_WAY
    :: may_take(k) && lower -> verdict = LOWER
#else
    :: may_take(k) && higher -> verdict = GIVE_WAY
    :: may_take(k) && !higher && lower -> verdict = LOWER
#endif
#ifndef NO_HIGHER
    :: may_take(k) && !higher && !lower && ((want == EXCLUSIVE && top > ballot) || above) -> verdict = AGAIN
#endif
    :: else ->
        if
#ifndef NO_L7
        :: resuming && (top_last > saved || own_last > saved) -> verdict = STALE
#else
        :: resuming && top_last > saved -> verdict = STALE
#endif
        :: else -> verdict = TAKEN
        fi
    fi;
    above = false
}

/* round_take.c:judge_one and take: what is held from now on. */
inline grant()
{
    token = ballot;
    if
#ifndef NO_L6
    :: want == SHARED && top_last > token -> token = top_last
#endif
    :: else
    fi;
    if
    :: want == EXCLUSIVE -> last = ballot
    :: else
    fi;
    hold = ballot; mode = want
}

/* round_judge.c:dpx_content_held: a void writes all as it was before the attempt. */
inline lower_flag()
{
#ifdef NO_L3_HIDES
    issue(hold, mode, 0);
    last = 0;
#else
    issue(hold, mode, last);
#endif
#ifdef NO_L3
    air[k].last = (trying[k] -> ballot : last);
#endif
}
