/* A death notice that something lies over: rules S20 and S21, on one disk.
 *
 * An owner declares a host dead and holds what that one held.  The other stood still together with its clock, wakes
 * up at any step and beats: may it believe what it reads in the owner's notice block?  No clocks: any silence may
 * look long enough.  Records and notices are read in one request, in any order.
 * Must hold: while the owner lives, no heartbeat completes that the owner's burial did not see.
 *
 *   -DCOVER          at any time a late claim lands over the owner's record
 *   -DNOTE=g         at any time a late note of generation g (the owner's is 2) lands over its notices
 *   -DCLAIMER=g      one more claims the slot at that generation, passes its check, and its note lands at any time after it
 *   -DDAMAGE         at any time the notice block turns to garbage
 *   -DDAMAGE_RECORD  … the owner's record
 *   -DSELF_NOTE      the late note is that of the late claim's author (sent to a disk on which its claim had failed)
 *   -DSTOOD          a block counts, too, if the owner, should it live, has looked at it since it was first seen
 *   -DYIELDS         the owner may leave a late claim over its record alone for as long as it likes
 *   -DLENIENT        as it was until these gaps were found: beside its owner's record a block of a later generation counts,
 *                    too, and beside a claiming or damaged one any
 */
#ifndef BEATS
#define BEATS 3      /* numbers of the victim's writes; 1 is its claim's */
#endif
#ifndef MOVES
#define MOVES 2      /* heartbeats of the owner */
#endif
#ifndef NOTE
#define NOTE 0
#endif
#ifndef CLAIMER
#define CLAIMER 0
#endif
#define GARBAGE 255

/* Who wrote it, times 8, and what makes it one of a kind. */
#define FORMER 1     /* the slot's last owner, who left: generation 1 */
#define OWNER 2      /* generation 2 */
#define LATE 3       /* late claims */
#define NOTER 4
#define EARLIER 5    /* the one more claimer */
#define writer(block) (block / 8)
#define generation(who) (who == FORMER -> 1 : (who == OWNER -> 2 : (who == EARLIER -> CLAIMER : NOTE)))
#define claim_of(who) (who * 8)
/* A claim's last record is as good as a claim: its author has held nobody dead yet. */
#define ended_claim (OWNER * 8 + 1)
#define claiming(shown) \
    (shown == claim_of(OWNER) || shown == ended_claim || writer(shown) == LATE || writer(shown) == EARLIER)
#ifdef SELF_NOTE
#define LATE_NOTER LATE
#else
#define LATE_NOTER NOTER
#endif

/* on disk */
byte record = FORMER * 8 + 1;  /* of the owner's slot */
byte block = FORMER * 8;       /* its notices; odd: they name the victim */
byte beat;                     /* the victim's record: the number of its write; 0: its slot is free */

/* what is true */
byte completed;                /* the victim's last heartbeat that completed */
byte looks;                    /* looks of the owner at its notices, with what they led to */
bool buried, died;             /* the owner holds the victim dead; the owner died */
byte base;                     /* … on account of that record */

#define overlooked (buried && !died && completed > base)

inline weigh_block() /* notices.c:dpx_notices_believed */
{
    if
    :: notices == GARBAGE -> believed = false
#ifndef LENIENT
    :: notices != GARBAGE && (shown == GARBAGE || claiming(shown)) ->
        believed = notices == known || (shown != GARBAGE && writer(shown) == writer(notices)) || stood
    :: notices != GARBAGE && shown != GARBAGE && !claiming(shown) -> believed = writer(shown) == writer(notices)
#else
    :: notices != GARBAGE && (shown == GARBAGE || claiming(shown)) -> believed = true
#ifdef NO_S21
    :: notices != GARBAGE && shown != GARBAGE && !claiming(shown) -> believed = true
#else
    :: notices != GARBAGE && shown != GARBAGE && !claiming(shown) ->
        believed = writer(shown) == writer(notices) || generation(writer(notices)) > generation(writer(shown))
#endif
#endif
    fi
}

inline heed() /* heart_self.c:dpx_heart_nobody_names_us */
{
    d_step {
        stood = false;
#ifdef STOOD /* S / 2 have passed: an owner that lives has looked in between, from beginning to end */
        stood = notices == first && issued >= first_looks + 2;
        if
        :: notices != first -> first = notices; first_looks = looks
        :: else
        fi;
#endif
        weigh_block();
        before = last;
        last = (shown == GARBAGE -> 0 : shown);
        nobody = true;
        if
        :: believed && notices % 2 == 1 -> ended = true; nobody = false
        :: believed && notices % 2 == 0 ->
            if
            :: shown != GARBAGE && !claiming(shown) || notices == seen && before == last -> known = notices
            :: else
            fi;
            seen = notices;
#ifdef NO_S20_EARLIER
            clear = last
#else
            if
            :: before == last -> clear = last
            :: else
            fi
#endif
#ifdef NO_S20 /* what cannot be believed names nobody */
        :: !believed
#elif defined(NO_S20_RECORD)
        :: !believed && clear != 0
        :: !believed && clear == 0 -> nobody = false
#else
        :: !believed && clear != 0 && clear == last
#ifdef NO_S20_EXCEPTION
            -> nobody = false
#endif
        :: !believed && (clear == 0 || clear != last) -> nobody = false
#endif
        fi;
        believed = false; before = 0; shown = 0; notices = 0
    }
}

inline vouch() /* claim_table.c:dpx_claim_shown, heart.c:inherit: our generation is not there to be named yet */
{
    atomic { last = (record == GARBAGE -> 0 : record); clear = last }
}

proctype victim()
{
    byte counter = 1, shown, notices;
    byte last;   /* the owner's record, as it was read last */
    byte clear;  /* … when its notices said nothing of us, and that record had been read earlier still */
    byte known;  /* notices that hid nothing when they were read */
    byte seen;   /* … that were believed last */
    byte before;
    byte first, first_looks, issued; /* notices as they are since when; when the heartbeat began */
    bool stood;
    bool believed, nobody, ended;
#ifndef NO_S20_BEFORE
    vouch();
#endif
    atomic { known = (block == GARBAGE || block % 2 == 1 -> 0 : block) } /* they are heeded in the choice of a generation */
    beat = 1;    /* it claims */
#ifdef NO_S20_BEFORE
    vouch();
#endif
    do
    :: counter < BEATS && !ended ->
        counter++;
        atomic { beat = counter; issued = looks }
        if
        :: shown = record; notices = block
        :: notices = block; shown = record
        fi;
        heed();
        atomic {
            if
            :: nobody -> completed = counter; assert(!overlooked)
            :: else
            fi;
            nobody = false
        }
    :: else -> break
    od
}

/* It claims the slot, and beats; at some time it sentences the victim. */
proctype owner()
{
    byte silent, count, own = claim_of(OWNER), moves;
    bool stands, sentenced, yields;
    record = claim_of(OWNER);
    atomic { record == claim_of(OWNER) && writer(block) == FORMER -> skip } /* claim.c: the check */
    block = own;                                                            /* its note */
    atomic { record == claim_of(OWNER) -> count = 1 }                       /* and the look after it */
    record = OWNER * 8 + count;
    silent = beat;                         /* from here on, for T_dead, as far as it can tell */
    do
    :: moves < MOVES ->
        moves++;
        atomic {                           /* heart_self.c:look_at_own_notices */
            if
            :: block != GARBAGE && generation(writer(block)) > generation(OWNER) -> died = true; break
            :: else -> stands = block == own
            fi
        }
        atomic {
            if
            :: !sentenced && silent != 0 && beat == silent -> sentenced = true; own = own + 3; stands = false
            :: skip
            fi
        }
        yields = false;
#ifdef YIELDS
        if
        :: writer(record) == LATE -> yields = true
        :: skip
        fi;
#endif
        if
#ifdef NO_S21_MENDED
        :: !stands && yields
        :: !stands && !yields -> block = own
#else
        :: !stands -> block = own          /* its notices … */
#endif
        :: stands
        fi;
#ifdef STOOD
        looks++;
#endif
        if
        :: yields -> goto next
        :: else
        fi;
        count++;
        record = OWNER * 8 + count;        /* … then the record … */
        atomic {                           /* … then the look at the victim's */
            if
            :: sentenced && beat == silent && !buried -> buried = true; base = silent; assert(!overlooked)
            :: else
            fi
        }
next:   skip
    :: died = true; break
    :: moves == MOVES -> break
    od
}

proctype late_claim()
{
#ifdef COVER
    record = claim_of(LATE)
#else
    skip
#endif
}

proctype late_note()
{
#if NOTE
    block = LATE_NOTER * 8
#else
    skip
#endif
}

proctype claimer()
{
#if CLAIMER
    atomic { writer(record) == FORMER -> skip }   /* the table */
    record = claim_of(EARLIER);
    atomic { record == claim_of(EARLIER) && writer(block) == FORMER -> skip }
    block = EARLIER * 8
#else
    skip
#endif
}

proctype damage()
{
#ifdef DAMAGE
    block = GARBAGE
#else
    skip
#endif
}

proctype damage_record()
{
#ifdef DAMAGE_RECORD
    record = GARBAGE
#else
    skip
#endif
}

init
{
    atomic {
        run victim(); run owner(); run late_claim(); run late_note(); run claimer(); run damage(); run damage_record()
    }
}
