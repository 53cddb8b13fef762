/* The state of a round, shared by round.c (phases), round_sweep.c (requests on every disk)
 * and round_judge.c (what the images mean). */
#ifndef DPX_PROTOCOL_ROUND_STATE_H
#define DPX_PROTOCOL_ROUND_STATE_H

#include "area.h"
#include "round.h"

enum round_phase {
    ROUND_LOOK,        /* read areas; nothing is raised */
    ROUND_LOOK_PAUSE,  /* something was in the way */
    ROUND_MARK,        /* write the waiter's mark */
    ROUND_RAISE,       /* write the flag, then the judging read */
    ROUND_JUDGE_PAUSE, /* flag up, lower flags there: they give way, or they hold */
    ROUND_JUDGE,       /* the judging read again */
    ROUND_LOWER,       /* void, release, or rewrite: one write */
    ROUND_LOWER_PAUSE,
    ROUND_END,
};

enum sweep_kind { SWEEP_READ, SWEEP_PAIR, SWEEP_WRITE };
enum sweep_state { SWEEP_RUNNING, SWEEP_GOOD, SWEEP_FAILED };

struct round_item {
    bool in_sweep;
    bool looks;           /* take, find: must look before it may raise */
    bool probed;          /* find: the answer is there */
    bool marked;          /* a mark of this round was issued and not taken back */
    bool heals;           /* watch: the own flag must be raised again */
    bool tells;           /* watch: the own block must say that this is a taking */
    bool overrides;       /* the judging read ignored a dead host's flag above all that was certainly taken */
    bool exposed;         /* watch: a majority may have lacked the own flag: somebody may have come in */
    bool vanished;        /* watch: a majority certainly lacks it */
    uint8_t own_flawed;   /* this sweep: disks (bits) on which only the own block is damaged */
    bool flawed;          /* this sweep: some image was damaged */
    uint8_t regressed;    /* this sweep: disks (bits) whose image showed an older own block */
    uint8_t counted;      /* this sweep: disks (bits) whose image counts */
    uint8_t returned;     /* this sweep: disks that answered without error, counting or not */
    uint8_t written;      /* this attempt: disks (bits) on which the flag is durable */
    uint32_t probe;       /* area to look at */
    uint32_t probes;
    uint64_t ballot;      /* of the attempt, 0: none */
    uint64_t token;       /* what it would be taken with */
    uint64_t others;      /* highest last_exclusive of others in the judging read */
    uint64_t drawn;       /* last sequence of the area when the look or the write began; DPX_NEVER: unsettled */
    dpx_own content;      /* what a writing sweep writes */
};

struct round_channel {
    dpx_request request;
    dpx_extent *writes;
    dpx_extent *reads;
    uint32_t *items;      /* which item extent i belongs to */
    uint64_t *sequences;  /* what was written there */
    uint64_t *floors;     /* our last write there that had completed when the request was built */
    uint32_t *areas;
    uint8_t *blocks;      /* one per item */
    uint8_t *images;      /* one area per item */
    bool done;            /* answered in this sweep … */
    int error;            /* … with that: -errno */
    bool sent;            /* in this sweep */
};

struct dpx_round {
    dpx_world *world;
    uint32_t capacity;
    dpx_round_kind kind;
    dpx_wish *wishes;
    uint32_t count;
    uint64_t wait_until;
    uint64_t grace;        /* until when a silent holder's death is waited for though wait_until has passed */
    enum round_phase phase;
    enum sweep_kind sweep_kind;
    uint32_t sweep;
    uint32_t first_sweep;  /* since the round began: what an earlier use wrote is no write of this attempt */
    uint64_t sweep_began;
    uint64_t sweep_limit;  /* DPX_NEVER: it takes as long as it takes */
    uint64_t io_time;      /* of the last good sweep */
    uint64_t wake;
    uint64_t began;
    uint32_t rereads;      /* of damaged images, before they are believed */
    uint32_t judgings;     /* judging reads of this attempt that met lower flags */
    uint32_t lowerings;    /* failed sweeps of this void or release */
    bool raised;           /* some write of an attempt was issued and is not voided yet */
    bool cancelled;
    bool queues;           /* a take that waits: heeds others' marks and sets its own */
    bool unmarking;        /* the lowering takes back marks only */
    uint64_t ticket;       /* of its marks; 0: none yet */
    uint32_t passes;       /* marks that were passed over since a flag was seen */
    dpx_verdict after;     /* what the round ends with once the flag is down; DPX_RUNNING: look again */
    dpx_verdict verdict;
    dpx_cause cause;
    struct round_item *items;
    struct round_channel channels[DPX_MAX_DISKS];
};

/* ---- round_sweep.c ---- */

/* Starts a sweep over the items that are in_sweep. */
void dpx_sweep_begin(dpx_round *round, enum sweep_kind kind, uint64_t limit, uint64_t now);
enum sweep_state dpx_sweep_state(const dpx_round *round, uint64_t now);
/* When it fails, unless more comes back by then. */
uint64_t dpx_sweep_until(const dpx_round *round);
/* A sweep failed for want of answers: cause.error and cause.disk name one that gave none. */
void dpx_sweep_blame(dpx_round *round);
/* The next request of the sweep, or NULL; *blocked: a suspect block keeps a disk out for now. */
dpx_request *dpx_sweep_next(dpx_round *round, bool *blocked);
/* It belongs to the round as it began last, and not to an earlier use of its memory. */
bool dpx_sweep_ours(const dpx_round *round, const dpx_request *request);
/* Books a completed request.  False: a newer incarnation's block was met. */
bool dpx_sweep_complete(dpx_round *round, dpx_request *request);
void dpx_sweep_images(const dpx_round *round, const struct round_item *item,
                      const uint8_t *images[DPX_MAX_DISKS]);
bool dpx_sweep_majority(const dpx_round *round, uint8_t disks);

/* ---- round_judge.c ---- */

/* What a judging read says about one lease, in the order of docs/protocol.md, section 3. */
enum judgement {
    JUDGE_TAKEN,
    JUDGE_STALE,
    JUDGE_HIGHER,    /* raise again, higher, without lowering the flag */
    JUDGE_LOWER,     /* lower flags in the way */
    JUDGE_GIVE_WAY,
    JUDGE_OPEN,      /* a half-made header change of a dead host */
    JUDGE_DAMAGED,   /* the header is older than what blocks have seen */
    JUDGE_CHANGED,   /* header not as meant */
};
enum judgement dpx_judge(const dpx_view *view, const dpx_wish *wish, uint64_t ballot);

/* The header is the one that the wish means. */
bool dpx_judge_header(const dpx_view *view, const dpx_wish *wish);

/* What watching says about a held lease whose own flag stands. */
bool dpx_judge_kept(const dpx_view *view, const dpx_lease *lease, bool after_regress);

/* Takes over what an image says: own block carried on, cache, header. */
void dpx_judge_learn(const dpx_world *world, dpx_wish *wish, const dpx_view *view, const dpx_flag *flag,
                     uint64_t drawn);

/* The next ballot above all that the items have seen; 0: the ceiling is reached. */
uint64_t dpx_judge_ballot(const dpx_round *round);

/* What an attempt of this round is, to a scan of one lease. */
dpx_attempt dpx_judge_attempt(const dpx_round *round, uint32_t i, uint64_t ballot);

/* Fills item->content: the flag raised at `ballot`, or as this incarnation holds the lease. */
void dpx_content_raise(dpx_round *round, struct round_item *item, const dpx_wish *wish, uint64_t ballot);
void dpx_content_held(dpx_round *round, struct round_item *item, const dpx_wish *wish);
/* … and the waiter's mark on top of it. */
void dpx_content_mark(dpx_round *round, struct round_item *item, const dpx_wish *wish);

/* ---- round.c: phases ---- */

void dpx_round_finish(dpx_round *round, dpx_verdict verdict);
void dpx_round_pause(dpx_round *round, enum round_phase phase, uint64_t duration, uint64_t now);
uint64_t dpx_round_jittered(dpx_round *round, uint64_t duration);
/* Long enough for an attempt that meets us to give way: a read and a write of its own. */
uint64_t dpx_round_settle(const dpx_round *round);
uint64_t dpx_round_deadline(const dpx_round *round, uint64_t now);
void dpx_round_scan(const dpx_round *round, uint32_t i, dpx_attempt attempt, uint64_t now, dpx_view *view);
void dpx_cause_flag(dpx_round *round, uint32_t i, const dpx_flag *flag);
void dpx_cause_open(dpx_round *round, uint32_t i, uint32_t area, const dpx_view *view);
void dpx_round_look(dpx_round *round, uint64_t now);
void dpx_round_raise(dpx_round *round, uint64_t now);

/* ---- round_lower.c ---- */

/* The flag goes down (a void keeps what this incarnation held before); then `after`:
 * DPX_RUNNING looks again. */
void dpx_round_lower(dpx_round *round, dpx_verdict after, uint64_t now);
/* Ends a round whose flag is not up: marks that stand are taken back first. */
void dpx_round_unmark(dpx_round *round, dpx_verdict after, uint64_t now);
void dpx_round_release(dpx_round *round, uint64_t now);
void dpx_after_lower(dpx_round *round, enum sweep_state state, uint64_t now);

/* ---- round_wait.c: those who wait ---- */

/* Something is in the way of some leases: wait, or refuse. */
void dpx_round_wait(dpx_round *round, uint64_t now);
/* Others who wait come first for this lease, which is free; view: what was just read. */
bool dpx_round_defers(dpx_round *round, uint32_t i, const dpx_view *view, uint64_t now);
void dpx_after_mark(dpx_round *round, uint64_t now);
/* The round's ticket: one number above every ticket in sight, kept until the round ends. */
void dpx_round_draw(dpx_round *round);

/* ---- round_take.c, round_watch.c: what a sweep's images lead to ---- */

void dpx_after_look(dpx_round *round, uint64_t now);
void dpx_after_raise(dpx_round *round, uint64_t now);
void dpx_after_watch_look(dpx_round *round, uint64_t now);
void dpx_after_heal(dpx_round *round, enum sweep_state state, uint64_t now);
void dpx_after_rewrite_look(dpx_round *round, uint64_t now);
/* True: another name wrote there since, so it was started over instead of being written. */
bool dpx_rewrite_again(dpx_round *round, uint64_t now);

#endif
