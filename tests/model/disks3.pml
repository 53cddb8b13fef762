/* Two hosts take one lease exclusively on three disks: protocol, sections 2 and 3.
 *
 * Each disk is a chain of its own: the write of the own block, then the read of both blocks
 * there; a majority of such pairs makes a round.  Every I/O may take for ever (a slow or a
 * missing disk).  Disk 0 may have one more fault:
 *   -DDAMAGE  once, at any time, both blocks there turn into garbage
 *   -DLOST    its writes may fail without landing
 *   -DOLD     its reads may show what stood there at some earlier time (a stale path)
 *   -DREGRESS once, at any time, it falls back to that for good: more than the protocol can
 *             bear (assumption 2 of section 9), kept to show that the assumption is needed
 *   -DNARROW  no attempt is given up before its judging read, and disk 1 never answers host 1
 *             (fewer states, for a counterexample that is found soon)
 * Lifetimes, shared holders and resumes are in rounds.pml.
 *
 * A block's content follows from its writer and sequence, so that a copy is one number.
 */
#ifndef TRIES
#define TRIES 1         /* of host 0 */
#endif
#ifndef TRIES_1
#define TRIES_1 1       /* of host 1 */
#endif
#ifdef MINORITY
#define MAJORITY 1
#else
#define MAJORITY 2
#endif
#define LAST 9          /* sequences that a host may use; a try that would need more is voided */
#define BAD 15          /* a damaged copy */
#define FAULTY 0

typedef sequences_t { byte on[3] }
typedef history_t { byte hold[LAST + 1]; byte ballot[LAST + 1] }

sequences_t copy[2];    /* [host].on[disk]: sequence of the copy that stands there */
sequences_t air[2];     /* … of the write in flight, 0: none */
#ifdef NO_L9
sequences_t air2[2];    /* … and of a second one, on disk FAULTY */
#endif
sequences_t done[2];    /* dpx_lease.done: highest sequence that completed */
history_t history[2];   /* what was written under a sequence */
bool held[2];
byte top_token;
byte earlier[2];       /* of disk FAULTY */
bool snapped, broken;

#define bit(d) (1 << (d))
#define count(set) (((set) & 1) + ((set) >> 1 & 1) + ((set) >> 2 & 1))
#define other (1 - h)

/* round_sweep.c:dpx_sweep_next, suspect: a disk whose last write has returned */
inline send(d)
{
    if
#ifdef NARROW
    :: d == 1 && h == 1
    :: !(d == 1 && h == 1) && !(sent & bit(d)) && air[h].on[d] == 0 ->
#else
    :: !(sent & bit(d)) && air[h].on[d] == 0 ->
#endif
        air[h].on[d] = sequence; sent = sent | bit(d)
#ifdef NO_L9
    :: d == FAULTY && !(sent & bit(d)) && air[h].on[d] != 0 && air2[h].on[d] == 0 ->
        air2[h].on[d] = sequence; sent = sent | bit(d)
#endif
    :: else
    fi
}

/* round_sweep.c:dpx_sweep_begin: a new content for the own block, sent wherever it may be */
inline begin_sweep(new_hold)
{
    counted = 0; asked = 0; newest = 0; sent = 0;
    sequence++;
    history[h].hold[sequence] = new_hold;
    history[h].ballot[sequence] = ballot;
    send(0); send(1); send(2)
}

#ifdef NO_L9
#define may_send(d) (!(sent & bit(d)) && (air[h].on[d] == 0 || (d == FAULTY && air2[h].on[d] == 0)))
#else
#define may_send(d) (!(sent & bit(d)) && air[h].on[d] == 0)
#endif

#ifdef NO_L9
#define written(d) ((sent & bit(d)) && done[h].on[d] == sequence)
#else
#define written(d) ((sent & bit(d)) && done[h].on[d] == sequence && air[h].on[d] == 0)
#endif
#define written_count ((written(0) -> 1 : 0) + (written(1) -> 1 : 0) + (written(2) -> 1 : 0))

/* area.c:dpx_image_check, round_sweep.c:book_image, newest_copy */
inline see(d, own, theirs)
{
    if
#if !defined(NO_F1)
    :: theirs == BAD || own == BAD
#endif
#ifndef NO_F2
    :: own != BAD && theirs != BAD && own < done[h].on[d]
#endif
    :: else ->
        if
#ifdef NO_F1
        :: theirs == BAD /* garbage says that nobody is here */
#endif
#ifdef NO_F3
        :: theirs != BAD && (counted == 0 || theirs < newest) -> newest = theirs
#else
        :: theirs != BAD && theirs > newest -> newest = theirs
#endif
        :: else
        fi;
        counted = counted | bit(d)
    fi
}

inline read(d)
{
    if
    :: see(d, copy[h].on[d], copy[other].on[d])
#ifdef OLD
    :: d == FAULTY && snapped -> see(d, earlier[h], earlier[other])
#endif
    fi;
    asked = asked | bit(d)
}

#ifdef UNPAIRED /* a read counts whether or not the own write has landed there */
#define may_read(d) (!(asked & bit(d)))
#else
#define may_read(d) (!(asked & bit(d)) && written(d))
#endif

inline settle() /* what a round leaves behind in locals */
{
    counted = 0; asked = 0; newest = 0; sent = 0
}

proctype host(byte h)
{
    byte sequence, ballot, top, tries;
    byte sent, asked, counted, newest;

idle:
    if
    :: atomic { tries < (h == 0 -> TRIES : TRIES_1) ->
        tries++;
raise:
        ballot = ((ballot > top -> ballot : top) / 2 + 1) * 2 + h;
        begin_sweep(ballot)
    }
    :: atomic { tries == (h == 0 -> TRIES : TRIES_1) -> ballot = 0; top = 0; goto end }
    fi;

sweep: /* pairs */
    do
    :: atomic { may_send(0) -> send(0) }
    :: atomic { may_send(1) -> send(1) }
    :: atomic { may_send(2) -> send(2) }
    :: atomic { may_read(0) -> read(0) }
    :: atomic { may_read(1) -> read(1) }
    :: atomic { may_read(2) -> read(2) }
#ifdef UNPAIRED
    :: atomic { count(counted) >= MAJORITY && written_count >= MAJORITY -> goto judge }
#else
    :: atomic { count(counted) >= MAJORITY -> goto judge }
#endif
#ifndef NARROW
    :: atomic { goto void } /* it takes too long, or the caller lost interest */
#endif
    od;

judge: /* round_judge.c:dpx_judge */
    atomic {
        top = (history[other].ballot[newest] > top -> history[other].ballot[newest] : top);
        if
        :: history[other].hold[newest] > ballot -> goto void
        :: history[other].hold[newest] && history[other].hold[newest] < ballot ->
            if
            :: counted = 0; asked = 0; newest = 0; goto again
            :: goto void
            fi
        :: !history[other].hold[newest] && history[other].ballot[newest] > ballot && sequence < LAST - 3 -> goto raise
        :: !history[other].hold[newest] && history[other].ballot[newest] > ballot && sequence >= LAST - 3 -> goto void
        :: else -> /* taken */
            assert(!held[other]);
            assert(ballot > top_token);
            held[h] = true; top_token = ballot; settle()
        fi
    }
    atomic { held[h] = false; goto void } /* the release writes the same as a void */

again: /* only disks that carry the flag count: round_sweep.c:book_image */
    do
    :: atomic { may_read(0) -> read(0) }
    :: atomic { may_read(1) -> read(1) }
    :: atomic { may_read(2) -> read(2) }
    :: atomic { count(counted) >= MAJORITY -> goto judge }
#ifndef NARROW
    :: atomic { goto void }
#endif
    od;

void:
    atomic { begin_sweep(0) }
    do
    :: atomic { may_send(0) -> send(0) }
    :: atomic { may_send(1) -> send(1) }
    :: atomic { may_send(2) -> send(2) }
    :: atomic { written_count >= MAJORITY -> settle(); goto idle }
    od;
end:
    skip
}

inline land(h, d, from)
{
    copy[h].on[d] = from;
    if
    :: from > done[h].on[d] -> done[h].on[d] = from
    :: else
    fi;
    from = 0
}

proctype storage(byte h)
{
end:
    do
    :: atomic { air[h].on[0] -> land(h, 0, air[h].on[0]) }
    :: atomic { air[h].on[1] -> land(h, 1, air[h].on[1]) }
    :: atomic { air[h].on[2] -> land(h, 2, air[h].on[2]) }
#ifdef NO_L9
    :: atomic { air2[h].on[0] -> land(h, 0, air2[h].on[0]) }
#endif
#ifdef LOST
    :: atomic { air[h].on[FAULTY] -> air[h].on[FAULTY] = 0 }
#endif
    od
}

proctype fault()
{
#ifdef DAMAGE
    atomic { copy[0].on[FAULTY] = BAD; copy[1].on[FAULTY] = BAD }
#endif
#if defined(OLD) || defined(REGRESS)
    atomic { earlier[0] = copy[0].on[FAULTY]; earlier[1] = copy[1].on[FAULTY]; snapped = true }
#endif
#ifdef REGRESS
    atomic { copy[0].on[FAULTY] = earlier[0]; copy[1].on[FAULTY] = earlier[1] }
#endif
    skip
}

init
{
    atomic { run host(0); run host(1); run storage(0); run storage(1); run fault() }
}
