/* The simulated world: what every file of the simulator shares.
 *
 * world.c opens with the storage fault model.  In short: a history is one seed; `world`
 * owns real time, disks, machines (clocks) and hosts (processes); each host drives the
 * machines of native/protocol as the host room does; checker*.c know the truth.
 */
#ifndef SIM_SIMULATE_H
#define SIM_SIMULATE_H

#include <stddef.h>
#include <stdio.h>

#include "protocol/change.h"
#include "protocol/claim.h"
#include "protocol/heart.h"
#include "protocol/round.h"
#include "random.h"

enum {
    MAX_HOSTS = 8,   /* simulated processes at a time */
    MAX_PAUSES = 64, /* of one machine */
    MAX_SLOTS = 8,
    MAX_AREAS = 8,   /* lease 0 included */
    MAX_NAMES = 7,
    MAX_LIVES = 600, /* memberships in one history */
    MAX_UUIDS = 600, /* creations in one history */
    MAX_FLIGHTS = 1024,
    MAX_CALLS = 512,
    MAX_EVENTS = 8192,
    MAX_DEFERRED = 256,
    MAX_DAMAGE = 16,
    MAX_OUTAGES = 8,
    MAX_LOG = 16384, /* grants kept for the order check at the end */
    REPLAY_RING = 24,
    STATES = 4,      /* states remembered per name */
    TASKS = 6,       /* rounds of one host at a time */
    NONE16 = 0xffff,
};

/* ---- what happened, by kind: the report and the coverage test ---- */

enum fault {
    FAULT_DELAYED,      /* an I/O took many times the usual latency */
    FAULT_OVER_LIMIT,   /* … or longer than the I/O time limit */
    FAULT_REORDERED,    /* two writes of different hosts landed against the order of their issue */
    FAULT_FAILED,       /* error, not landed */
    FAULT_FAILED_LANDED,/* error, landed */
    FAULT_QUEUED,       /* never issued: expired in the queue */
    FAULT_TORN_WRITE,   /* a reader could see half a block */
    FAULT_TORN_FOREVER, /* power lost in the middle of a block */
    FAULT_SPLIT_READ,   /* an area or table read in pieces, at different moments */
    FAULT_BIT_ROT,
    FAULT_ZEROED,
    FAULT_GHOST,        /* a write landed after its process had ended */
    FAULT_LATE_GHOST,   /* … after its lifetime was over */
    FAULT_LOST_WRITE,   /* in flight when the power went; never landed */
    FAULT_REPLAY,
    FAULT_DISK_HUNG,
    FAULT_DISK_MISSING,
    FAULT_DISK_OLD,     /* came back with old content */
    FAULT_STALE_READS,  /* one host is shown a disk as it was a while ago */
    FAULT_PATH_LOST,    /* one host cut off from its disks */
    FAULT_BLACKOUT,     /* nobody reaches a majority */
    FAULT_KILLED,       /* process gone, machine up */
    FAULT_POWER,        /* machine gone, comes back with another boot */
    FAULT_FENCED,
    FAULT_STOPPED,      /* SIGSTOP, shorter than the lifetime */
    FAULT_STOPPED_LONG, /* … longer */
    FAULT_PAUSED,       /* stopped together with its clock, shorter than T_dead */
    FAULT_PAUSED_LONG,
    FAULT_CLOCK_EDGE,   /* a clock at the bound of ±5 % */
    FAULT_CLOCK_BEYOND, /* a clock beyond the bound */
    FAULT_SLOTS_FULL,
    FAULT_SPACE_FULL,
    FAULT_CLAIM_RACE,   /* two claims wrote one slot at the same time */
    FAULT_ORDINARY,     /* those above occur in any history, those below in stretched ones */
    FAULT_AMBUSHED = FAULT_ORDINARY, /* struck at a moment chosen for the history */
    FAULT_INSIDE,       /* stood still between the lifetime test and the issue of the I/O */
    FAULT_UNTOLD,       /* … or between the core's verdict and what is made of it */
    FAULT_REVERTED,     /* memory and clock of a machine went back to a snapshot */
    FAULT_RESURRECTED,  /* … of a process that had ended since */
    FAULT_ANOTHER_LIFE, /* a process whose membership ended joined again */
    FAULT_GHOST_LET_GO, /* a write long under way landed just when somebody was taken over */
    FAULT_WOKEN,        /* a paused machine woke just then */
    FAULT_RECLAIMER_BLIND, /* a host that reclaims a slot is shown an old disk */
    FAULT_CUT_FOR_LONG, /* one host does not reach a minority of the disks, for many T_dead */
    FAULT_COUNT
};

enum outcome { /* of operations, for the report */
    OUT_JOINED, OUT_JOIN_FAILED, OUT_LEFT, OUT_FINISHED, OUT_TAKEN, OUT_TAKEN_SHARED, OUT_RESUMED,
    OUT_REFUSED, OUT_STALE, OUT_TAKE_OTHER, OUT_RELEASED, OUT_CREATED, OUT_DELETED, OUT_CHANGE_OTHER,
    OUT_LOST, OUT_HEALED, OUT_REWRITTEN, OUT_ASKED, OUT_RECLAIMED, OUT_RETIRED, OUT_TAKEOVER, OUT_RESOLVED, OUT_FREED,
    OUT_MARKED, OUT_SIGHTED,
    OUT_EXCUSED_PAUSE, OUT_EXCUSED_REVERT, OUT_EXCUSED_CLOCK, OUT_EXCUSED_REPLAY, OUT_EXCUSED_MEETING,
    OUT_EXCUSED_JOINER, OUT_EXCUSED_NOTICE, OUT_EXCUSED_NOTE, OUT_UNCHECKED, OUT_COUNT
};

enum violation {
    VIOLATION_NONE,
    VIOLATION_EXCLUSION,     /* two holders within their lifetimes */
    VIOLATION_TAKEOVER,      /* taken before the dead holder's process was certainly stopped */
    VIOLATION_TOKEN,         /* a token did not grow */
    VIOLATION_STALE_TAKEN,   /* a stale state was believed */
    VIOLATION_STALE_REFUSED, /* a true one was refused */
    VIOLATION_LIFETIME,      /* acted after the end, or a lifetime that no heartbeat backs */
    VIOLATION_NOT_SHOWN,     /* reported, and a majority of disks does not show it */
    VIOLATION_REFUSED,       /* refused because of a flag that was down */
    VIOLATION_EXISTENCE,     /* a name twice, or wrongly reported there or not there */
    VIOLATION_HEADER,        /* a header changed without holding the directory and the lease */
    VIOLATION_SLOT,          /* a slot with two owners, or reused before its writes were drained */
    VIOLATION_FOREIGN_WRITE, /* a block written by somebody who does not own it */
    VIOLATION_SECOND_WRITE,  /* two writes in flight to one block */
    VIOLATION_BUFFER,        /* memory of a write in flight was changed */
    VIOLATION_SEQUENCE,      /* a sequence restarted within a generation */
    VIOLATION_MARK,          /* a waiter's mark where the lease is held */
    VIOLATION_ORDER,         /* a lease's history is not that of a mutex with tokens */
    VIOLATION_LIVENESS,      /* after the faults stopped somebody could not join or take in time */
    VIOLATION_SPIN,          /* a machine keeps asking for attention without getting anywhere */
    VIOLATION_CRASH,         /* an assertion or a signal */
    VIOLATION_COUNT
};

enum { RANKS = 5 };

typedef struct ranking { /* highest first */
    struct { uint64_t value, seed; } rank[RANKS];
} ranking;

typedef struct tally {
    uint64_t histories;
    uint64_t events;
    uint64_t ios; /* extents issued */
    uint64_t writes;
    uint64_t faults[FAULT_COUNT];
    uint64_t outcomes[OUT_COUNT];
    uint64_t violations[VIOLATION_COUNT];
    uint64_t digest;       /* of all events: the same seeds give the same one */
    ranking longest; /* histories by their I/Os */
    ranking slowest; /* … by the time to serve everybody once faults stopped, in 1/1000 of its bound */
} tally;

/* Keeps the highest ones. */
void ranking_note(ranking *r, uint64_t value, uint64_t seed);

/* ---- the plan of one history, drawn from the seed (swarm.c, stretch.c) ---- */

/* A step of some machine at which a history may strike on purpose. */
enum moment {
    AT_TABLE, AT_CLAIM, AT_CHECK, AT_NOTE, AT_AGAIN, AT_ACTIVE, AT_FREE, /* a claim's */
    AT_NOTICES, AT_BEAT, AT_HEED,                                         /* a heartbeat's */
    AT_LOOK, AT_RAISE, AT_LOWER, AT_HEADER, AT_OTHER,                     /* a round's or a change's */
    MOMENTS
};

typedef struct stretch {
    odds ambush;         /* at one of these moments (bits): */
    uint32_t moments;
    uint8_t blows[4];    /* enum host_fault, one of them each time */
    odds inside, untold; /* steps in which a process is stopped half-way */
    odds hang_claim;     /* a claiming write is under way for long, its process is killed */
    odds stay;           /* a process whose membership ended joins again */
    odds wake, let_go, fall; /* somebody is taken over: sleepers wake, ghosts land, the taker falls */
    odds pick_dead;      /* damage hits what matters to death: records and notices; only single bits */
    uint32_t reverts;    /* snapshots of a machine that come back */
    uint32_t late;       /* most that a critical write, or one beyond its limit, may be late, in T_dead */
    uint32_t late_claim; /* … and a claim */
    uint32_t cuts;       /* one host, a minority of the disks */
    bool blind_reclaims;
    bool slow_words;     /* "its process is gone" is said some time after it was seen */
} stretch;

typedef struct plan {
    uint32_t hosts, machines;
    uint8_t machine_of[MAX_HOSTS];
    uint32_t names, created;  /* created: how many exist from the start */
    uint64_t duration;        /* until all faults stop */
    uint64_t tempo;           /* mean time between a host's operations */
    uint64_t latency;         /* usual I/O */
    uint8_t disk_faulty;      /* bit mask: disks that may hang, go missing, come back old */
    uint8_t drains_on_exit;   /* bit mask, hosts: AIO; the others, when killed, leave their writes behind */
    bool replays;
    bool clock_beyond;
    bool long_pauses;
    /* each I/O */
    odds delay, over_limit, fail, fail_landed, queue_loss, split_read, torn_write, land_early, wait_queue;
    odds deliver_late;
    odds critical;             /* writes of headers, of claims, of free slots are hit on purpose */
    /* each host */
    uint32_t kills, powers, stops, pauses, outages, damages, replay_count, fences, stales;
    /* operations, weights */
    uint8_t weight_take, weight_release, weight_create, weight_delete, weight_leave, weight_rewrite;
    odds batch, shared, resume, wait;
    stretch more; /* all zero in an ordinary history */
} plan;

/* ---- machines: clocks and boots ---- */

typedef struct box {
    uint64_t real_base;
    uint64_t local_base;
    uint64_t rate; /* local ns per 1,000,000 real ns */
    bool frozen;
    bool off;      /* no power */
    uint32_t stops; /* together with its clock */
    struct {
        uint64_t local, real;
    } stopped[MAX_PAUSES]; /* what the clock showed when it stopped, and when that was */
    dpx_uuid host, boot;
    uint32_t boots;
    struct sightings *kept; /* by its processes, for each other: sightings.c */
} box;

/* ---- what is in flight ---- */

/* One request of a machine, being carried out. */
typedef struct call {
    dpx_request *request;
    uint8_t host;
    uint8_t unit;
    uint16_t life;
    uint16_t pending; /* extents that have not returned */
    uint16_t next;    /* free list */
    uint32_t stamp;
    bool reading;
    bool ambushed;    /* once is enough */
    bool used;
} call;

/* One extent on its way. */
typedef struct flight {
    uint8_t *data;
    dpx_extent *extent; /* NULL: its process is gone */
    uint64_t issued_at;
    uint64_t issued_local; /* by the clock of its host */
    uint64_t late;         /* more than usual */
    uint64_t return_at;
    uint32_t block, count;
    uint32_t done;      /* blocks (reads) or pieces (writes) transferred so far */
    uint32_t stamp;     /* events about an earlier schedule carry an older one */
    uint32_t checksum;  /* of a write, as issued */
    uint32_t order;     /* of issue */
    int32_t error;
    uint16_t call, life;
    uint16_t next;      /* free list */
    uint8_t host, disk;
    bool used, write, lands, landed, parked, returned, copied;
    bool cached; /* a read that is shown old content, to its end */
    bool unaware; /* a write of one whose memory had gone back, and who had not found out */
} flight;

typedef struct event {
    uint64_t at;
    uint32_t order;
    uint8_t kind; /* enum event_kind */
    uint8_t host;
    uint16_t index;
    uint32_t stamp;
} event;

enum event_kind {
    EVENT_TIMER,    /* host: some machine or the actor wants attention; stamp: life */
    EVENT_ISSUE,    /* call */
    EVENT_LAND,     /* flight: part of it, or all */
    EVENT_RETURN,   /* flight */
    EVENT_DELIVER,  /* call */
    EVENT_FAULT,    /* host: index is enum host_fault; stamp 1: arm it */
    EVENT_WAKE,     /* host: stamp counts its stops */
    EVENT_START,    /* host: a new process */
    EVENT_OUTAGE,   /* index, stamp 1: begins, 0: ends */
    EVENT_DAMAGE,
    EVENT_REPLAY,
    EVENT_SNAPSHOT, /* index: disk */
    EVENT_STALE,    /* host; index: disk; stamp 1: begins, 0: ends */
    EVENT_QUIET,
    EVENT_DEADLINE,
    EVENT_LAUNCH,   /* call: the lifetime test is over, the I/O is issued */
    EVENT_SETTLE,   /* host: what its machines have decided is dealt with; stamp: life */
    EVENT_SAVE,     /* host: its machine's memory is saved; index: which snapshot, stamp: tries */
    EVENT_REVERT,   /* … and comes back */
};

enum host_fault { HOST_KILL, HOST_POWER, HOST_STOP, HOST_BRIEF, HOST_PAUSE, HOST_FENCE };

/* ---- hosts: one process each ---- */

enum unit { UNIT_CLAIM, UNIT_RECLAIM, UNIT_HEART, UNIT_CHANGE, UNIT_ROUND, UNIT_COUNT = UNIT_ROUND + TASKS };

enum task_kind { TASK_FREE, TASK_TAKE, TASK_RELEASE, TASK_WATCH, TASK_REWRITE };

typedef struct task {
    enum task_kind kind;
    dpx_round *round;
    bool judged;         /* its verdict was dealt with */
    bool finding;        /* a take that looks for its leases first */
    uint64_t wait;       /* … and then waits so long; local */
    uint32_t count;
    uint8_t names[MAX_NAMES];
    dpx_wish wishes[MAX_NAMES];
    uint64_t began;      /* real */
    uint64_t cancel_at;  /* local; DPX_NEVER */
} task;

enum host_state { HOST_OFF, HOST_CLAIMING, HOST_JOINED, HOST_LEAVING, HOST_ENDED };

typedef struct host {
    enum host_state state;
    uint8_t index, box;
    bool stopped;
    bool rescues; /* its next life joins in a slot that the administrator says is lost */
    bool paused;          /* stopped together with its clock */
    bool stays;           /* its next life is one of the same process */
    bool untold;          /* EVENT_SETTLE is under way */
    uint16_t life;
    uint32_t stops;       /* stamp of EVENT_WAKE */
    uint64_t timer_at;    /* real time of the earliest timer event under way */
    uint32_t spins;
    uint64_t spin_at;
    uint64_t next_act;    /* local times */
    uint64_t next_watch;
    uint64_t next_steward;
    uint8_t armed;        /* a fault waits for that many I/O steps */
    uint8_t armed_kind;
    bool armed_fault;     /* … and is about to strike */
    /* the machines and what they share */
    dpx_world world, reclaim_world;
    dpx_slot_record me;
    dpx_claim *claim, *reclaim;
    dpx_heart *heart;
    dpx_change *change;
    void *memory[UNIT_COUNT];
    void *peers_memory;
    uint8_t in_flight[MAX_AREAS], reclaim_in_flight[MAX_AREAS]; /* world.in_flight */
    uint64_t sequences[MAX_AREAS], ballots[MAX_AREAS], written[MAX_AREAS][DPX_MAX_DISKS]; /* likewise */
    bool reclaiming;      /* UNIT_RECLAIM is in use; likewise: */
    bool reclaim_judged;
    bool changing;
    bool change_judged;
    dpx_change_kind change_kind;
    uint8_t change_name;
    uint64_t change_began;
    bool claim_done;      /* but perhaps a request of it is still out */
    uint8_t suspect;      /* disks on which the heart waits for the claim's write */
    int resolve_area;     /* a half-made change was met there; -1: none */
    uint32_t stewarded;
    int rewrite_area;     /* whose own block is damaged or has regressed; -1: none */
    bool create_next;     /* last phase: the lease to take is not there */
    dpx_lease resolve;
    bool leave_soon;
    uint64_t retire_asked[MAX_SLOTS]; /* generation that the administrator declared gone … */
    uint64_t gone_seen[MAX_SLOTS];    /* generation whose process was seen gone, and is yet to be said so */
    uint64_t retire_asked_at[MAX_SLOTS]; /* … and when: whose record seemed to move is declared gone again */
    dpx_uuid fresh;       /* of the lease being created */
    task tasks[TASKS];
    dpx_lease leases[MAX_NAMES + 1]; /* the last one: for work on an area whose name does not matter */
    dpx_lease directory;
    dpx_lease *owners[MAX_AREAS]; /* whose own block this host's block there is */
    uint32_t resolved_area;       /* by the change under way, for nobody; UINT32_MAX: none */
    bool busy[MAX_NAMES + 1];
    bool held[MAX_NAMES + 1];
    bool exclusive[MAX_NAMES + 1];
    bool must_lower[MAX_NAMES + 1]; /* lost: the flag is still to be taken down */
    /* the last phase: everybody takes every lease */
    uint32_t served;
    bool serving;
    bool refused;
    bool done;
    struct sightings *noted; /* and to be kept */
    /* events that came while it was stopped */
    event deferred[MAX_DEFERRED];
    uint32_t deferred_count;
} host;

/* ---- damage ---- */

typedef struct damage {
    bool used;
    uint8_t disk;
    uint32_t block;
    uint64_t met_at;   /* first complained of, while its owner was … */
    uint16_t met_life;
    _Alignas(64) uint8_t saved[DPX_BLOCK_MAX];
} damage;

typedef struct outage {
    uint8_t hosts, disks; /* bit masks */
    bool missing;         /* errors; otherwise hangs */
    bool rollback;        /* comes back with the content of the snapshot */
    uint64_t from, to;
    bool on;
} outage;

typedef struct replay {
    uint32_t block;
    uint8_t disk;
    bool used;
    _Alignas(64) uint8_t data[DPX_BLOCK_MAX];
} replay;

struct truth; /* checker.h */

typedef struct world {
    uint64_t seed;
    uint64_t now;
    rng chance;
    plan plan;
    const dpx_geometry *geometry;
    uint64_t io_limit, dead_time;
    uint32_t majority;
    bool quiet;
    bool over;
    FILE *trace;
    bool stretched;
    uint32_t themes; /* of stretched histories (bits): those that are played */
    uint32_t theme;
    tally *tally;
    uint64_t start_ios;

    uint8_t *disks[DPX_MAX_DISKS];
    uint8_t *snapshot;
    uint8_t *stale;      /* what stale_host is shown of stale_disk; -1: nobody */
    int stale_host, stale_disk;
    int snapshot_disk; /* -1: none */
    uint8_t blocked[MAX_HOSTS][DPX_MAX_DISKS];  /* outages that cover this path, hanging … */
    uint8_t missing[MAX_HOSTS][DPX_MAX_DISKS];  /* … or failing */
    outage outages[MAX_OUTAGES];
    damage damages[MAX_DAMAGE];
    replay ring[REPLAY_RING];
    uint32_t ring_at;

    box boxes[MAX_HOSTS];
    host hosts[MAX_HOSTS];
    call calls[MAX_CALLS];
    flight flights[MAX_FLIGHTS];
    uint16_t call_free, flight_free;
    uint16_t flight_top; /* none at or above it was ever used in this history */
    uint32_t stamp;
    uint32_t issue_order;
    uint32_t top_landed[DPX_MAX_DISKS]; /* highest issue order landed there */
    uint8_t top_host[DPX_MAX_DISKS];
    event events[MAX_EVENTS];
    uint32_t event_count;
    uint32_t event_order;
    uint8_t *orphans;    /* data of writes whose process is gone */
    size_t orphan_used;

    struct snapshot *saved; /* snapshot.c */
    bool lenient;           /* main.c, --net */
    bool sightings;         /* … --sightings */

    struct { dpx_uuid uuid; uint64_t token; } states[MAX_NAMES][STATES];
    uint32_t state_count[MAX_NAMES];
    uint64_t quiet_at, deadline;
    enum violation violation;
    char complaint[400];
    struct truth *truth;
} world;

/* ---- events.c: time ---- */

void event_push(world *w, uint64_t at, enum event_kind kind, uint8_t host, uint16_t index, uint32_t stamp);
bool event_pop(world *w, event *out);
static inline uint64_t clock_local(const box *b, uint64_t real)
{
    return b->frozen ? b->local_base : b->local_base + (real - b->real_base) * b->rate / 1000000;
}
/* The earliest real time at which the clock shows at least `local`; DPX_NEVER while it is frozen. */
uint64_t clock_real(const box *b, uint64_t local);
/* … and at which it first showed it, in the past. */
uint64_t clock_was(const box *b, uint64_t local);
void clock_freeze(box *b, uint64_t real);
void clock_thaw(box *b, uint64_t real);
static inline uint64_t local_now(const world *w, const host *h)
{
    return clock_local(&w->boxes[h->box], w->now);
}

/* ---- swarm.c, template.c: a history's plan and its freshly initialised disks ---- */

#define PRESETS 96u
const dpx_geometry *preset_geometry(uint32_t preset);
void plan_draw(world *w);
void plan_crowd(world *w, uint32_t hosts); /* so many, each on a machine of its own */
bool stretch_fits(const world *w, const dpx_geometry *g);
void stretch_draw(world *w); /* what a stretched history has beside that */
void template_load(world *w, uint32_t preset);
void name_of(uint32_t name, char *out, size_t *length);
dpx_uuid uuid_draw(world *w);

/* ---- disk.c: requests on their way ---- */

void disk_submit(world *w, host *h, enum unit unit, dpx_request *request);
void disk_event(world *w, const event *e); /* ISSUE, LAND, RETURN, DELIVER */
void disk_orphan(world *w, host *h, bool power_lost); /* the process of h is gone */
bool disk_idle(const world *w, const host *h);        /* nothing of it is under way */
void disk_let_go(world *w);                           /* a ghost lands soon */
void disk_settle_box(world *w, uint8_t box);          /* a machine boots: its old writes cannot come any more */
void disk_unblock(world *w);                          /* a path works again */
void disk_hurry(world *w);                            /* faults are over: nothing takes long any more */
bool disk_writes_out(const world *w, uint16_t life);
uint8_t *disk_block(const world *w, uint32_t disk, uint64_t block);
flight *flight_new(world *w);
void flight_free(world *w, flight *f);
void call_free(world *w, call *c);

/* ---- damage.c: what happens to the content of disks ---- */

void damage_event(world *w, const event *e); /* OUTAGE, DAMAGE, REPLAY, SNAPSHOT */
void damage_schedule(world *w);
void damage_written(world *w, uint32_t disk, uint64_t block); /* a write landed there */
const uint8_t *damage_view(const world *w, const flight *f, uint64_t block); /* what a read is shown */
void damage_fresh(world *w);                                                 /* … the truth again */
bool damage_at(const world *w, uint32_t disk, uint64_t block);
damage *damage_find(world *w, uint32_t disk, uint64_t block);
void damage_tear(world *w, flight *f); /* power lost in the middle of this write */
void damage_heal(world *w);
void damage_remember(world *w, const flight *f); /* for replays */

/* ---- host.c: drives the machines ---- */

void host_step(world *w, host *h, enum unit unit);
void host_complete(world *w, host *h, enum unit unit, dpx_request *request);
void host_settle(world *w, host *h); /* verdicts, new rounds, the next timer */
void host_timer(world *w, host *h, const event *e);
void host_told(world *w, host *h, const event *e); /* SETTLE */

/* ---- stretch.c: moments that are chosen on purpose ---- */

enum { THEMES = 8 };
extern const char *const theme_names[THEMES + 1]; /* NULL ends it */
void stretch_schedule(world *w);
enum moment moment_of(const world *w, enum unit unit, const dpx_request *r);
bool stretch_ambush(world *w, call *c);       /* the host of this call is struck now: it must wait */
void stretch_incident(world *w, host *taker); /* somebody was taken over; or a ghost landed: taker is NULL */

/* ---- snapshot.c: memory and clock of a machine go back ---- */

void snapshot_reset(world *w);
void snapshot_event(world *w, const event *e); /* SAVE, REVERT */
size_t host_memory(const world *w, enum unit unit); /* bytes in use of its memory[unit] */

/* ---- areas.c ---- */

bool area_may_write(world *w, host *h, enum unit unit, const dpx_request *request);

/* ---- process.c: lives ---- */

void process_start(world *w, host *h);
enum process_end { END_ITSELF, END_KILLED, END_POWER, END_FENCED };
void process_end(world *w, host *h, enum process_end how); /* its memory is gone */
void process_wake_box(world *w, uint8_t box);
void process_joined(world *w, host *h);
void process_refused(world *w, host *h, dpx_verdict verdict); /* it cannot join */
void process_steward(world *w, host *h);
uint32_t process_lost_slot(world *w);
void process_mend_records(world *w);
void process_event(world *w, const event *e); /* FAULT, WAKE, START */
void process_armed(world *w, host *h);        /* an I/O step of h: a fault may wait for it */
void process_quiet(world *w);                 /* everybody goes on */

/* ---- sightings.c: what processes of one machine have seen of the slots ---- */

void sightings_reset(world *w);
void sightings_recall(world *w, host *h); /* before its first look */
void sightings_run(world *w, host *h);
void sightings_end(world *w, host *h, bool itself);

/* ---- actor.c, quiet.c: what hosts do ---- */

void actor_act(world *w, host *h);
void actor_watch(world *w, host *h);
void actor_round_done(world *w, host *h, task *t);
void actor_change_done(world *w, host *h);
bool actor_take(world *w, host *h, uint32_t count, const uint8_t *names, enum dpx_mode mode, uint64_t wait,
                int resume);
bool actor_release(world *w, host *h, uint32_t count, const uint8_t *names);
bool actor_rewrite(world *w, host *h, uint32_t area);
bool actor_change(world *w, host *h, dpx_change_kind kind, uint8_t name, uint64_t wait);
void quiet_begin(world *w);
void quiet_act(world *w, host *h);
bool quiet_served(const world *w);

/* ---- trace.c ---- */

void trace_line(world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define TRACE(w, ...) do { if ((w)->trace) trace_line((w), __VA_ARGS__); } while (0)
void trace_flight(world *w, const flight *f, const char *what);
extern const char *const fault_names[FAULT_COUNT];
extern const char *const outcome_names[OUT_COUNT];
extern const char *const violation_names[VIOLATION_COUNT];
extern const char *const unit_names[UNIT_COUNT];

static inline void fault_note(world *w, enum fault fault)
{
    w->tally->faults[fault]++;
}

static inline void outcome_note(world *w, enum outcome outcome)
{
    w->tally->outcomes[outcome]++;
}

/* The first one of a history counts; it ends there. */
void violate(world *w, enum violation violation, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- world.c ---- */

world *world_new(void);
/* Runs the history of `seed` from beginning to end; the tally grows. */
enum violation world_run(world *w, uint64_t seed, tally *count, FILE *trace);

#endif
