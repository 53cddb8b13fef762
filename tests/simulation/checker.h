/* What is true, and whether what the hosts were told agrees with it.
 *
 * A life is one process.  Its incarnation may act until the clock of its machine reaches
 * lifetime_end, and what it protects may run on until K + W later: both are turned into
 * real time here, which no host ever sees.
 */
#ifndef SIM_CHECKER_H
#define SIM_CHECKER_H

#include "simulate.h"

typedef struct life {
    uint8_t host, box;
    uint16_t process;     /* number of its first life */
    bool joined, ended, left;
    bool beaten;          /* completed a heartbeat: may have taken something (rule S17) */
    uint8_t claimed;      /* slots (bits) that it wrote to */
    bool claimed_paused;  /* its clock stood still while it was claiming */
    bool claimed_stopped; /* … or it did, between a lifetime test and the issue of that write */
    bool paused;          /* … or at some time since it joined */
    bool reverted;        /* its memory went back, and it cannot know it yet: until its next heartbeat … */
    bool blind;           /* … or, as no majority shows what it wrote of its slot since, until it has looked at its
                             leases, within S */
    bool reverted_ever;
    bool left_before;     /* … and it had left its slot: who saw that holds it dead, flag or not, and tells nobody */
    bool told;            /* … but a block of a lease that its later self wrote did: it ends */
    bool overtaken;       /* others took what it held while its clock stood still, or went back */
    uint64_t record;       /* highest sequence of a record that its heart issued */
    uint64_t remembered;   /* … and of those that its memory knows of since that went back … */
    uint8_t beaten_on;     /* … where it has written one since (disks, bits) … */
    uint8_t told_on;       /* … and where its slot shows, or showed it, that it went back */
    uint64_t overtaken_at; /* real, when it went on all the same */
    dpx_incarnation who;
    uint64_t started;     /* real */
    uint64_t joined_local;
    uint64_t lifetime_end;/* local */
    uint64_t beat_real;   /* when the heartbeat was issued that the lifetime counts from */
    uint64_t thawed_local;/* end of the last pause */
    uint64_t reverted_local; /* what its clock showed when it went back */
    uint64_t act_until;   /* real; of an ended life */
    uint64_t stop_until;  /* … + K + W */
    uint32_t start_time;  /* of the process, for its slot record */
    uint64_t reclaimed;   /* generation of its last reclaim that was judged */
} life;

/* A lease held, as far as its host was told. */
typedef struct hold {
    uint16_t life, uuid, grant;
    uint8_t name;
    bool exclusive, overtaken;
    uint64_t token;
    uint64_t known_by; /* overtaken: by its own clock, if only a look at the lease tells */
    uint32_t area;
} hold;

typedef struct lease_truth {
    dpx_uuid uuid;
    uint8_t name;
    bool shown;                      /* a majority of disks has had its header */
    uint8_t landed_on;               /* … these disks (bits), if only one after the other */
    uint64_t max_exclusive, max_any; /* tokens granted */
    uint64_t crashed;                /* highest last_exclusive written by a life that ended */
} lease_truth;

/* The own block of a slot in an area, as issued and as it landed. */
typedef struct own_truth {
    uint16_t life;            /* that wrote it last, + 1 */
    uint16_t uuid;
    uint64_t generation;
    uint64_t sequence, hold, ballot; /* of the highest sequence issued */
    uint64_t forgotten;       /* … before the memory of that life went back: it knows nothing of it */
    uint64_t issued[DPX_MAX_DISKS];  /* last sequence issued there */
    uint64_t last_exclusive;         /* highest ever issued by that life */
    uint64_t landed_sequence; /* newest that landed anywhere, and where */
    uint64_t landed_hold;
    uint8_t landed_on;
    uint8_t looked_on; /* disks (bits) of judging reads since the flag went up (meet.c) */
    uint8_t took_on;   /* … of those that its last taking rested on */
    uint8_t struck_on; /* … of old content there since then */
    uint64_t struck_at; /* one disk only: when old content last came over it; 0: never … */
    uint64_t kept_at;   /* … and when its owner, who has not seen the area whole since, last met damage there */
    bool seen;          /* … which it has */
    uint64_t durable_hold;
    uint64_t lowered[4];      /* holds taken down durably, and when */
    uint64_t lowered_at[4];
    uint32_t lowered_next;
    uint64_t rewritten;   /* highest last_exclusive of a rewritten block, of whatever lease it thought it was */
} own_truth;

/* A grant, for the order of all of them. */
typedef struct grant {
    uint16_t uuid, life;
    bool exclusive, excused;
    uint64_t token;
    uint64_t begun, taken, ended;
} grant;

typedef struct overlap { /* excused for a while after a replay */
    uint16_t first, second; /* grants */
    uint64_t until;
    uint32_t area;
    uint64_t replayed_at; /* the last replay there before it */
} overlap;

enum { MAX_HOLDS = 256, MAX_OVERLAPS = 64 };

typedef struct truth {
    life lives[MAX_LIVES];
    uint32_t life_count;
    hold holds[MAX_HOLDS];
    uint32_t hold_count;
    lease_truth leases[MAX_UUIDS];
    uint32_t lease_count;
    own_truth own[MAX_AREAS][MAX_SLOTS];
    grant grants[MAX_LOG];
    uint32_t grant_count;
    uint16_t slot_owner[MAX_SLOTS];       /* life + 1 */
    uint64_t slot_generation[MAX_SLOTS];
    uint16_t beat_life[MAX_SLOTS][DPX_MAX_DISKS]; /* whose heartbeat landed last, + 1 */
    uint64_t beat_issued[MAX_SLOTS][DPX_MAX_DISKS]; /* … issued by its clock */
    uint64_t noted_at[MAX_SLOTS];         /* when notices of this slot last landed, on whatever disk */
    uint64_t noted_before[MAX_SLOTS];     /* … and the time before that */
    uint64_t restored_at[MAX_SLOTS];      /* when the administrator last made damage in them good */
    uint64_t claim_written[MAX_SLOTS];    /* last claiming record, by whom and when */
    uint16_t claim_life[MAX_SLOTS];
    uint64_t claim_generation[MAX_SLOTS];
    uint64_t contested[MAX_SLOTS];        /* highest generation that several lives claimed */
    uint8_t changed_area[MAX_HOSTS];      /* whose header this host wrote last */
    uint64_t filled_at[MAX_AREAS];        /* when a majority began to show a lease there */
    uint64_t vacated_at[MAX_AREAS];       /* … or that there is none */
    uint64_t landed_at[MAX_AREAS][DPX_MAX_DISKS][2]; /* when a header without, with a lease last landed there */
    int8_t area_of[MAX_NAMES];            /* -1: not there, -2: between states */
    uint64_t changed_at[MAX_NAMES];
    uint64_t trouble_at[MAX_HOSTS];       /* when something last kept this host from its disks, or will */
    uint64_t blind_until[MAX_HOSTS];      /* was shown old content until then */
    uint32_t rewritten;                   /* own blocks whose content nobody knew any more */
    uint64_t replayed_at[MAX_AREAS];      /* one disk only: old content came over a block there: no token is judged */
    bool stray[MAX_AREAS];                /* whose header a host wrote with a clock that had stood still */
    bool covered[MAX_AREAS];              /* a machine that was set back wrote over a later owner's block there */
    bool rolled[DPX_MAX_DISKS];           /* old content was put there */
    overlap overlaps[MAX_OVERLAPS];
    uint32_t overlap_count;
    bool beyond;                          /* an assumption was broken on purpose, and it showed */
} truth;

void check_reset(world *w);
void check_history(world *w); /* at the end */
/* An assumption broken on purpose explains this: counted, and the history ends. */
void excuse(world *w, enum outcome why);
/* A clock that stood still, or went back, explains this: counted, and the history goes on. */
void excuse_pause(world *w, uint16_t number);

/* ---- lives.c ---- */

uint16_t life_begin(world *w, host *h);
void life_end(world *w, host *h, bool fenced);
uint8_t life_box(const world *w, uint16_t number);
uint64_t life_acts_until(const world *w, uint16_t number);
uint64_t life_stops_until(const world *w, uint16_t number);
/* Its clock stood still for longer than others could wait, or its memory went back, and it has not learnt of it yet. */
bool life_excused(const world *w, uint16_t number);
bool life_unaware(const world *w, uint16_t number);
void life_paused(world *w, uint8_t box);
void life_thawed(world *w, uint8_t box);
/* Its memory went back: does this record tell it so? */
bool life_told(const life *l, const dpx_slot_record *shown);
bool life_gone(const world *w, uint16_t number); /* ended, and its writes with it */
void check_joined(world *w, host *h);
void check_ended(world *w, host *h, dpx_end end);
void check_reclaimed(world *w, host *h, const dpx_slot_record *record);
void check_lifetime(world *w, host *h);
void check_own_record(world *w, uint16_t number, uint32_t disk, const uint8_t *data); /* it looked at that */

/* ---- check_io.c ---- */

void check_write(world *w, flight *f, enum unit unit);
void check_landed(world *w, flight *f);
bool shown_flag(const world *w, const host *h, uint32_t area, uint64_t hold);
bool shown_slot(const world *w, const dpx_incarnation *who, enum dpx_slot_state state);
bool cut_off(const world *w, uint8_t name); /* its header is a stray one, and probing ends before it */
bool shown_header(const world *w, uint32_t area, const dpx_uuid *lease); /* NULL: that there is none */
void check_headers(world *w);
uint16_t uuid_index(world *w, const dpx_uuid *uuid, uint8_t name);

/* ---- meet.c ---- */

void check_read(world *w, uint16_t number, const dpx_request *r); /* that came back without an error */
void check_struck(world *w, uint32_t disk, const dpx_place *place);
bool struck_alone(const world *w, uint16_t number, uint32_t area, bool lately); /* … and there is only one disk */
bool met_where_struck(const world *w, uint16_t holder, uint16_t taker, uint32_t area); /* and nowhere else */

/* ---- check_trouble.c ---- */

void trouble(world *w, uint8_t host, uint64_t at); /* this host is kept from its disks, until then */
void check_untroubled(world *w, const host *h);    /* its lifetime ran out */
void check_damaged(world *w, const host *h, const dpx_cause *cause); /* an attempt of it was told so */

/* ---- check_lease.c ---- */

void check_taken(world *w, host *h, const task *t, uint32_t item);
void check_take_failed(world *w, host *h, const task *t, dpx_verdict verdict);
void check_release_begun(world *w, host *h, uint8_t name);
void check_released(world *w, host *h, uint8_t name);
void check_lost(world *w, host *h, uint8_t name);
void check_changed(world *w, host *h, dpx_verdict verdict);
void check_overlaps(world *w);

#endif
