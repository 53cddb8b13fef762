/* Two areas in a row, and a name that is looked for in both: protocol, sections 2 and 4a, rule L8.
 *
 * Name Y has its home in the first area, and so has X, which came second: X is found in the second one, or not at
 * all.  A changer deletes or creates X there, and may die at any step with header writes on their way to three disks.
 * Another one deletes Y: the first area becomes free, or a tombstone.  What was left half made is resolved some
 * time.  Probing ends at a free area; so the first one must not be free while the second one holds X.
 *
 *   -DDELETES  X is there in the beginning: no creation
 *
 * Lease 0 makes changes come one after the other, and own blocks stand on a majority: directory.pml has both.
 */
#define X 1 /* the second header's content; 0: free */
#define NOBODY 0

typedef header_t { byte token; byte value }

header_t disk[3];
bool air[3];              /* the changer's header writes in flight */
byte work;                /* … what they write, under token 2 */
byte change_token;        /* announced in the changer's own block */
bool dead, done;
bool deleted, first_is_free; /* Y, and the first area */
bool directory;           /* lease 0 is held by a living one */

#define drained (!air[0] && !air[1] && !air[2])
#define landed ((disk[0].token >= 2) + (disk[1].token >= 2) + (disk[2].token >= 2))

/* Of two disks the newest copy; `votes`: how many of the two show it. */
inline read_header()
{
    if
    :: atomic { true -> first = 0; second = 1 }
    :: atomic { true -> first = 0; second = 2 }
    :: atomic { true -> first = 1; second = 2 }
    fi;
    atomic { token = disk[first].token; value = disk[first].value; pending = change_token }
    atomic {
        votes = 1 + (disk[second].token == token);
        if
        :: disk[second].token > token -> token = disk[second].token; value = disk[second].value
        :: else
        fi;
        pending = (change_token > pending -> change_token : pending);
        pending = (pending >= token -> pending : 0); /* area.c:scan_change: not followed by another */
        first = 0; second = 0
    }
}

proctype changer()
{
    atomic { !dead && !directory && !deleted -> directory = true } /* Y stands: so X's place is the second area */
    atomic { !dead -> change_token = 2; work = (disk[0].value == X -> 0 : X) }
    atomic { !dead -> air[0] = true; air[1] = true; air[2] = true }
    atomic { !dead && landed >= 2 -> /* reported */
        assert(work != X || !first_is_free);
        change_token = 0; done = true; directory = false }
}

proctype fate()
{
    atomic { !done -> dead = true; directory = false }
}

inline arrive(d)
{
    if
    :: disk[d].token = 2; disk[d].value = work
    :: dead || landed >= 2 /* it fails */
    fi
}

proctype storage()
{
end:
    do
    :: atomic { air[0] -> air[0] = false; arrive(0) }
    :: atomic { air[1] -> air[1] = false; arrive(1) }
    :: atomic { air[2] -> air[2] = false; arrive(2) }
    od
}

/* change.c:peeked_free, area.c:dpx_area_settled_free */
proctype deleter()
{
    byte first, second, token, value, votes, pending;
    bool free;
    atomic { !directory -> directory = true }
    read_header();
    atomic {
        free = (value == 0);
#ifndef NO_VERSION
        free = free && votes == 2;
#endif
#ifndef NO_PENDING
        free = free && !pending;
#endif
        first_is_free = free; deleted = true;
        directory = false;
        free = false; token = 0; value = 0; votes = 0; pending = 0
    }
}

/* Whoever meets an open change: lease 0, then what a majority shows once more, under a higher token. */
proctype resolver()
{
    byte first, second, token, value, votes, pending;
    atomic { dead && change_token && !directory && drained -> directory = true }
    read_header();
    atomic {
        assert(value != X || !first_is_free); /* found in vain: it exists, and no probing gets there */
        if /* on a majority; all see it from then on */
        :: disk[0].token = 4; disk[1].token = 4; disk[0].value = value; disk[1].value = value
        :: disk[0].token = 4; disk[2].token = 4; disk[0].value = value; disk[2].value = value
        :: disk[1].token = 4; disk[2].token = 4; disk[1].value = value; disk[2].value = value
        fi;
        directory = false; token = 0; value = 0; votes = 0; pending = 0
    }
}

init
{
    atomic {
        if
        :: disk[0].value = X; disk[1].value = X; disk[2].value = X
#ifndef DELETES
        :: true
#endif
        fi;
        disk[0].token = 1; disk[1].token = 1; disk[2].token = 1;
        run changer(); run fate(); run storage(); run deleter(); run resolver()
    }
}
