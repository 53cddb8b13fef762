/* death.pml on three disks: heartbeats and silence are each what two of them agree on.  Protocol, sections 4 to 6.
 *
 * Disk by disk the watched host writes its record and then reads the notices.  Two such chains make a heartbeat; the
 * lifetime runs from the issue of the older one.  Every write may land late, on any disk, while others go on.
 * Disk by disk the watcher, once it has sentenced the host, writes its notice, and looks at the record.  (A read shows what
 * stands there at one moment; how long it takes is death.pml's concern.)
 *
 *   without -DFREEZE  clocks run: whoever is buried has no holder any more
 *   with -DFREEZE     the watched host is stopped together with its clock, and wakes up at any time.  What it holds on
 *                     account of what it wrote before, no timeout can end; but once a heartbeat was issued after that, it
 *                     is not buried beside it
 *   -DAT_ONCE         … no time passes after it woke up, and nothing was under way when it fell asleep
 *   -DCOVER           once, at any time, somebody's late claim lands over its record on one disk
 */
#define S 2          /* the lifetime */
#define STOPPED 2    /* S + K + W: by then all holders are */
#define T_DEAD 3
#ifndef CHAINS
#define CHAINS 1     /* on each disk, after those that were complete in the beginning */
#endif
#define IDLE 255
#define CLAIM 99

/* on disk */
byte record[3];      /* the watched host's: the number of a write */
bool notice[3];

/* the watched host */
bool holding = true;
#ifdef FREEZE
bool frozen = true;
#else
bool frozen;
#endif
byte proof[3];       /* of the last chain that ran through: its number, … */
byte age[3];         /* … ticks since the issue of its record, … */
bool fresh[3];       /* … and whether that was after it woke up */
byte issue[3] = IDLE; /* ticks since the issue of the record under way */
byte written[3];     /* the last number that landed there */

/* the watcher */
byte known[3];       /* what the record there showed last */
byte still[3];       /* ticks since it showed that first */
byte base[3];        /* what had landed when it looked last */
bool ripe[3];        /* it showed that for T_dead, up to the last look */
bool after[3];       /* … which came after the notice there */
bool sentenced, buried;

#define two(a, b, c) (a && b || a && c || b && c)
#define least(a, b) (a < b -> a : b)
#define most(a, b) (a > b -> a : b)
#ifdef NO_OLDEST     /* from the newest issue */
#define life least(age[0], least(age[1], age[2]))
#else                /* heart.c:prove */
#define life most(least(age[0], age[1]), least(most(age[0], age[1]), age[2]))
#endif
#define later(d) (proof[d] > base[d])
#define overlooked (buried && two(later(0), later(1), later(2)))
#ifdef FREEZE
#define unaware (frozen || !two(fresh[0], fresh[1], fresh[2]))
#else
#define unaware false
#endif
#define awake (!frozen && holding)

proctype watched(byte d)
{
    byte chains;
    bool woken, told;
    do
#ifdef AT_ONCE
    :: atomic { awake && chains < CHAINS -> chains++; issue[d] = 0; woken = true }
#else
    :: atomic { holding && life < S && chains < CHAINS -> chains++; issue[d] = 0; woken = !frozen }
#endif
#ifdef NO_S7
        atomic { awake -> told = notice[d] }
        d_step { record[d] = chains; written[d] = chains } /* it lands some time */
#else
        d_step { record[d] = chains; written[d] = chains } /* it lands some time */
        told = notice[d];
#endif
        atomic { awake ->
            if
            :: told || life >= S ->
#ifndef FREEZE
                assert(life >= S); /* nobody is told that it is dead who is not */
#endif
                holding = false
            :: else -> proof[d] = chains; age[d] = issue[d]; fresh[d] = woken; assert(!overlooked)
            fi;
            issue[d] = IDLE; woken = false; told = false
        }
    :: chains == CHAINS -> break
    od
}

/* The keeper and the watchdog: holders stop once the lifetime is over, by S + K + W. */
proctype keeper()
{
    atomic { holding && !frozen && life >= S -> holding = false }
}

proctype freezer()
{
#ifdef FREEZE
    frozen = false
#else
    skip
#endif
}

inline tick(clock, cap)
{
    if
    :: clock < cap -> clock++
    :: else
    fi
}

#ifdef AT_ONCE
#define time_passes frozen
#else
#define time_passes (holding && (frozen || life < STOPPED)) /* nothing is left to be seen otherwise */
#endif
proctype clock()
{
end:
    do
    :: d_step { time_passes ->
        if
        :: !frozen -> tick(age[0], S); tick(age[1], S); tick(age[2], S);
            tick(issue[0], S); tick(issue[1], S); tick(issue[2], S)
        :: else
        fi;
        tick(still[0], T_DEAD); tick(still[1], T_DEAD); tick(still[2], T_DEAD) }
    od
}

inline look(d, noticed) /* peers.c:look */
{
    if
#ifdef NO_D6
    :: record[d] > known[d] && record[d] != CLAIM ->
#else
    :: record[d] != known[d] ->
#endif
        known[d] = record[d]; still[d] = 0; ripe[d] = false;
        after[0] = false; after[1] = false; after[2] = false /* its sentence is void */
    :: else -> ripe[d] = still[d] >= T_DEAD; after[d] = noticed
    fi;
    base[d] = written[d]
}

#ifdef NO_D3_SILENT /* unmoved since sentence was passed; else heart_notices.c:disks_agreeing */
#define sure(d) after[d]
#else
#define sure(d) (after[d] && ripe[d])
#endif
#ifdef MINORITY
#define enough(a, b, c) (a || b || c)
#else
#define enough(a, b, c) two(a, b, c)
#endif

inline judge() /* heart_notices.c:dpx_heart_sentence, dpx_heart_execute */
{
    if
    :: !sentenced && enough(ripe[0], ripe[1], ripe[2]) -> sentenced = true
    :: sentenced && enough(sure(0), sure(1), sure(2)) ->
        buried = true;
        assert(!overlooked);
        assert(unaware || !holding)
    :: else
    fi
}

#define watching (holding && !buried)
inline chain(d)
{
#ifdef NO_D3
    atomic { watching && sentenced -> look(d, true); judge() }
#else
    atomic { watching && sentenced -> notice[d] = true }
    atomic { look(d, true); judge() }
#endif
}

proctype watcher()
{
    do
    :: atomic { watching && !sentenced -> look(0, false); judge() }
    :: atomic { watching && !sentenced -> look(1, false); judge() }
    :: atomic { watching && !sentenced -> look(2, false); judge() }
    :: chain(0)
    :: chain(1)
    :: chain(2)
    :: !watching -> break
    od
}

proctype late_claim()
{
#ifdef COVER
    record[0] = CLAIM
#else
    skip
#endif
}

init
{
    atomic {
        run watched(0); run watched(1); run watched(2); run keeper(); run freezer(); run clock(); run watcher(); run late_claim()
    }
}
