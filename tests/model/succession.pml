/* One agent follows another while the guest runs on: protocol, section 4, Succession.
 *
 * A machine with one guest, its first agent (slot 0), the successor (slot 1), and another
 * host (slot 2).  The first agent may crash between any two steps, and the lifetime of its
 * incarnation then runs out some time.  A taking is one step here: rounds.pml has the rest.
 *
 *   -DLATE       the keeper does not stop the guest in time: what a resume must still notice
 *   -DFILE_LOST  the state file is lost with the first agent
 */
bool crashed, over, dead;      /* the first agent; its incarnation */
byte flag[3], last[3];         /* own blocks: hold and last_exclusive */
byte ballot;

/* The entry in the state file. */
bool listed, releasing;
byte token;
byte covered;                  /* by which incarnation */
bool unknown;                  /* the state file does not name slot 0: rule S15 */

/* The guest. */
bool alive = true, told;       /* … that it holds the lease */
bool petted = true;            /* the watchdog */

bool taken_since;              /* the other host took it after the guest was given it */
bool lowered;                  /* the first agent had begun to lower the flag */

#define in_the_way(slot) (flag[slot] && !(slot == 0 && dead))

inline take_as(slot)
{
    ballot++; flag[slot] = ballot; last[slot] = ballot
}

proctype agent()
{
#ifdef NO_S11 /* the entry comes after the reply */
    atomic { !crashed && !over && !in_the_way(2) -> take_as(0) }
    atomic { !crashed -> told = true }
    atomic { !crashed -> listed = true; token = flag[0] }
#else
    atomic { !crashed -> listed = true }
    atomic { !crashed && !over && !in_the_way(2) -> take_as(0); taken_since = false }
    atomic { !crashed && !over -> token = flag[0] }
    atomic { !crashed && !over && alive -> told = true }
#endif
    /* the guest lets go */
    atomic { !crashed && !over && told -> told = false }
#ifdef NO_S11_RELEASE
    atomic { !crashed && !over -> flag[0] = 0; lowered = true }
    atomic { !crashed -> releasing = true }
#else
    atomic { !crashed && !over -> releasing = true }
    atomic { !crashed && !over -> flag[0] = 0; lowered = true }
#endif
    atomic { !crashed -> listed = false; releasing = false; token = 0 }
}

proctype successor()
{
    crashed;
    if
#ifdef NO_S15
    :: atomic { unknown -> petted = true }
#else
    :: unknown -> goto end /* it neither holds nor pets */
#endif
    :: else
    fi;
    if
    :: atomic { listed && token && !releasing && alive -> /* round_judge.c:stale, predecessors ignored */
        if
#ifdef NO_S12_IGNORES
        :: in_the_way(2) || in_the_way(0) ->
#else
        :: in_the_way(2) ->
#endif
#ifndef LATE
            assert(in_the_way(2)); /* stopped only because of somebody else */
#endif
            alive = false
#ifndef NO_S12
        :: !in_the_way(2) && last[2] > token -> alive = false
#endif
        :: else ->
            assert(!taken_since); /* what goes on was never interrupted */
            assert(!lowered);     /* and nobody holds what was let go */
            take_as(1); token = flag[1]; covered = 1
        fi }
        if
        :: atomic { covered == 1 && alive -> told = true }
        :: atomic { else -> goto end }
        fi;
        atomic { releasing = true; told = false }
        atomic { flag[1] = 0; listed = false; releasing = false; token = 0; lowered = true }
    :: atomic { else -> listed = false; releasing = false; token = 0 }
    fi;
    /* a new taking for this host: a flag that its predecessor left is nothing to it */
    if
#ifdef NO_S14
    :: atomic { in_the_way(0) -> assert(flag[2]) }
#else
    :: false
#endif
    :: atomic { !in_the_way(2) -> take_as(1) }
    fi;
    flag[1] = 0;
end:
    skip
}

/* The keeper stops every process whose covering lifetime has run out, entry by entry. */
proctype keeper()
{
end:
    do
#ifndef NO_S13
    :: atomic { over && listed && covered == 0 && alive -> alive = false; told = false }
#endif
    :: atomic { !petted && alive -> alive = false; told = false } /* the machine is reset */
    od
}

proctype fate()
{
    if
    :: atomic { crashed = true;
#ifdef FILE_LOST /* and with it the keeper's list: nobody pets until somebody knows again */
        listed = false; releasing = false; token = 0; unknown = true; petted = false
#endif
    }
    :: true
    fi;
    if
    :: over = true
    :: atomic { !crashed -> goto end }
    fi;
    /* after S + K + W: the keeper has been, and an unpetted watchdog too */
#if defined(LATE) || defined(NO_S13)
    dead = true;
#else
    atomic { !(alive && ((listed && covered == 0) || !petted)) -> dead = true }
#endif
end:
    skip
}

proctype other_host()
{
    byte times;
    do
    :: atomic { times < 2 && !in_the_way(0) && !in_the_way(1) ->
        take_as(2);
        times++;
        taken_since = true;
#ifndef LATE
        assert(!(alive && told))
#endif
    }
        flag[2] = 0
    :: times == 2 -> break
    od
}

init
{
    atomic { run agent(); run successor(); run keeper(); run fate(); run other_host() }
}
