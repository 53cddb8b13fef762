/* The claim's state, shared by claim.c (phases) and claim_table.c (what the blocks say). */
#ifndef DPX_PROTOCOL_CLAIM_STATE_H
#define DPX_PROTOCOL_CLAIM_STATE_H

#include "claim.h"

enum claim_phase {
    PHASE_TABLE,
    PHASE_NOTICES,
    PHASE_WRITE,
    PHASE_SETTLE,
    PHASE_CHECK,
    PHASE_NOTE,  /* its notice blocks say whose the slot is, before its record does … */
    PHASE_AGAIN, /* … and nobody claimed it meanwhile */
    PHASE_ACTIVE,
    PHASE_FREE,
    PHASE_DRAIN, /* a failed attempt: its I/O must return before the next one starts */
    PHASE_PAUSE,
    PHASE_WATCH, /* no slot: look again later */
    PHASE_END,
};

struct claim_channel {
    dpx_request request;
    enum claim_phase asked; /* the request's */
    dpx_claim_pace pace;    /* the slowest that were seen here */
    dpx_extent write;
    dpx_extent *reads; /* 1 + notice_blocks */
    uint8_t *block;
    uint8_t *table;
    uint8_t *notices;     /* what all slots say of the slot's part */
    uint8_t *own_notices; /* the slot's own blocks */
    dpx_notice *shown;    /* max_hosts: the slot's own entries, as this disk shows them */
    uint32_t *notes;      /* notice_blocks: identity of each of the slot's own blocks, as this disk last showed it */
    uint64_t counter;     /* of a joined host: its last record that was durable here when the table was asked for */
    bool table_good;   /* the table was read in this attempt … */
    bool notices_read; /* … and so were the notices */
    bool counts;  /* this disk's table read showed the slot claimable */
    bool noted;   /* the note of this attempt is durable here */
    bool sent;    /* in this phase */
    bool good;    /* in this phase */
    bool late;    /* in this phase: its write took longer than T_claim */
};

/* The newest copy that was seen of one of the slot's notice blocks. */
struct claim_copy {
    bool seen;
    uint64_t generation;
    uint64_t sequence;
};

#define CLAIM_ATTEMPTS 16u

struct dpx_claim {
    dpx_world *world;
    dpx_slot_record record;
    dpx_uuid nonce;
    uint32_t only;
    bool retires;
    bool reclaim;
    uint64_t wait_until;
    enum claim_phase phase;
    dpx_verdict verdict;
    dpx_cause cause;
    uint32_t attempt;
    uint32_t slow;        /* attempts that ended since the storage, or we, took too long for T_claim */
    bool unanswered;      /* the last one had not even read the table: the storage is out of reach */
    uint64_t t0;
    uint64_t wake;
    uint64_t phase_limit;
    uint64_t majority_at; /* when the table was read on a majority; 0: not yet */
    uint64_t written_at;  /* last completion of a counted claiming write */
    dpx_notice *carried;  /* max_hosts notice entries of the slot's earlier life; certificates are each disk's own */
    struct claim_copy *copies; /* notice_blocks: which copies those are */
    uint64_t check_limit; /* the note is issued before it, or not at all */
    bool unread;          /* some other slot's notice about this one could not be read */
    dpx_incarnation shown; /* the slot's in the table that was read; peers may be ahead of it since */
    uint64_t owned;       /* generation in the slot's notice blocks: of its last owner */
    uint32_t known_slot;  /* this slot's notes were known already when the table was read */
    bool news;            /* … but not these, which are not of the incarnation that it shows either */
    uint64_t void_owned;  /* the slot is had for a void claim in it: an owner that noted more than this has it */
    dpx_void voids[CLAIM_ATTEMPTS]; /* attempts of ours that came to nothing once something was written */
    uint32_t void_count;
    uint64_t noticed;     /* highest generation that a notice names for the slot, or that an owner of it had */
    struct claim_channel channels[DPX_MAX_DISKS];
};

/* Does this phase ask something of this disk, and has not yet? */
bool dpx_claim_sends(const dpx_claim *claim, uint32_t disk);
void dpx_claim_build(dpx_claim *claim, uint32_t disk);
/* The disk has a part in the present phase. */
bool dpx_claim_takes_part(const dpx_claim *claim, const struct claim_channel *channel);
/* Why too few disks did what the present phase asked for: the cause. */
void dpx_claim_blame(dpx_claim *claim);
/* How long the request took that has just returned. */
void dpx_claim_time(struct claim_channel *channel);
/* Is another attempt worth it?  DPX_RUNNING: yes. */
dpx_verdict dpx_claim_gives_up(const dpx_claim *claim, uint64_t now);

/* Hands the table that was read to the peers. */
void dpx_claim_observe(dpx_claim *claim);
/* A slot that a majority shows claimable, free ones first; DPX_ANY_SLOT: none. */
uint32_t dpx_claim_choose_slot(dpx_claim *claim);
/* ‡S8: the table just read is not older than what this host wrote there. */
bool dpx_claim_table_current(const dpx_claim *claim, uint32_t disk);
/* How far above all that was seen the claim goes. */
uint64_t dpx_claim_generation_step(const dpx_claim *claim);
bool dpx_claim_claimable_on(const dpx_claim *claim, uint32_t disk, uint32_t slot);
/* Reads of all notice blocks that may speak of the slot, and of the slot's own. */
void dpx_claim_notice_reads(dpx_claim *claim, struct claim_channel *channel);
/* The record, and the notice blocks of the slot: nobody became its owner since we read them. */
void dpx_claim_check_reads(dpx_claim *claim, struct claim_channel *channel);
bool dpx_claim_stands(const dpx_claim *claim, const dpx_request *request);
/* Our notice blocks: what was carried on, under the new generation. */
void dpx_claim_note(const dpx_claim *claim, uint32_t disk, struct claim_channel *channel);
/* False: some block is damaged, so this disk cannot say what notices there are. */
bool dpx_claim_take_notices(dpx_claim *claim, const dpx_request *request);

#endif
