/* The heart's state, shared by heart.c (chains and beats), heart_build.c (requests), heart_self.c (what blocks
 * say about us) and heart_notices.c (judging others). */
#ifndef DPX_PROTOCOL_HEART_STATE_H
#define DPX_PROTOCOL_HEART_STATE_H

#include "heart.h"

enum heart_link { LINK_IDLE, LINK_LOOK, LINK_NOTICES, LINK_RECORD, LINK_FREE };

/* A notice of somebody about a slot that is wanted, whose certificate this disk bears out. */
struct found_notice {
    uint64_t generation; /* 0: none */
    uint32_t certificate;
};

struct heart_channel {
    dpx_request request;
    dpx_extent *writes; /* notice_blocks, or 1 */
    dpx_extent *reads;  /* table, two runs of notice blocks, the own ones */
    uint8_t *record;    /* one block */
    uint8_t *look[2];   /* the superblock and the own record, read before anything is written */
    uint8_t *own_notices;
    uint8_t *own_read;  /* … as the disk shows them */
    uint8_t *table[2];  /* the last one read completely, and the one being read */
    uint8_t *notices;   /* what all slots say of the part that we stand in */
    uint8_t *others;    /* … and of another part, where somebody stands that is wanted */
    bool *sound;        /* which records of table[front] are: looked at once, when it was read */
    uint32_t *shown;    /* what its records are, to the bit */
    uint32_t *blocks;   /* what its notice blocks about us were, to the bit, when last read … */
    uint64_t *stood_from; /* … and since when they have been so */
    uint32_t *known;    /* … and which of them was last believed; 0: none */
    uint32_t *clear;    /* … of each slot when its notices were known to say nothing of us; 0: never yet */
    uint32_t *certificates; /* of entries[], on this disk */
    struct found_notice *found;
    uint32_t front;
    uint32_t others_part;   /* of the others; notice_blocks: not read */
    enum heart_link link;
    bool suspect;           /* the claim's write has not returned here */
    bool due;               /* a beat wants this disk */
    uint64_t issued;        /* the last sequence of our records, on any disk, when the last look was issued … */
    bool gone;              /* … which showed another lockspace, or none */
    uint32_t claim;         /* … or a claim of a later generation: which one (0: none) … */
    uint64_t claim_since;   /* … and since when */
    bool yields;            /* … and nothing is written over it yet, but the notices are kept as they are to be */
    bool freed;             /* leaving: the free record is durable here … */
    bool spent;             /* … or may be, for all that is known: never written twice */
    uint64_t issue;         /* of the chain under way */
    uint64_t counter;       /* written by it */
    uint32_t version;       /* of the notices announced by it */
    uint32_t durable;       /* version of the notice blocks on this disk; 0: they may be another's, or damaged */
    bool read_once;         /* table[front] holds something */
    uint64_t table_issued;  /* of table[front] */
    uint64_t table_completed;
    uint64_t proved;        /* issue of the last chain that ran through; 0: none */
    uint32_t proved_version;
};

/* A death sentence under way about one slot. */
struct sentence {
    uint64_t generation; /* 0: none */
    uint32_t version;    /* of the notices that first carried it */
    bool fenced;
    bool certified;      /* it rests on a silence that somebody else has watched */
    bool done;
    uint32_t base_changes; /* of what the disks show of the slot, when it was passed */
};

/* Requests that were read: the last few, so that each counts once. */
#define HEART_HEARD 32u
#define HEART_ASKED 8u
struct heart_heard {
    uint64_t generation, serial;
    uint32_t slot;
};

struct dpx_heart {
    dpx_world *world;
    dpx_slot_record record;
    dpx_end end;
    bool leaving;
    bool freeing; /* nothing of ours is in flight any more: free records are written */
    bool hurry;
    uint64_t next_beat;
    uint64_t last_proof; /* the issue that the lifetime runs from */
    uint32_t version;    /* of entries[]; from 1 */
    dpx_notice *entries; /* max_hosts; their certificates are each channel's own */
    struct sentence *sentences; /* max_hosts */
    dpx_heart_numbers numbers;
    uint64_t mail_serial;
    struct heart_heard heard[HEART_HEARD];
    uint32_t heard_next;
    uint32_t asked[HEART_ASKED]; /* areas, for the driver */
    uint32_t asked_count;
    struct heart_channel channels[DPX_MAX_DISKS];
};

/* heart_mail.c: a table that counts was read on this disk. */
void dpx_heart_read_mail(dpx_heart *heart, uint32_t disk);

/* One slot's record in the last table that was read completely on this disk. */
const uint8_t *dpx_heart_row(const struct heart_channel *channel, const dpx_geometry *geometry, uint32_t slot);

/* Requests: heart_build.c. */
dpx_request *dpx_heart_send(dpx_heart *heart, uint32_t disk);

/* Over from now on, for this reason if there is none yet. */
void dpx_heart_end_with(dpx_heart *heart, dpx_end end);

/* What blocks say about us: heart_self.c.  False: this disk proves nothing now. */
bool dpx_heart_look_ok(dpx_heart *heart, uint32_t disk, uint64_t now);
bool dpx_heart_record_stands(dpx_heart *heart, uint32_t disk);
bool dpx_heart_nobody_names_us(dpx_heart *heart, uint32_t disk);

/* A table was read completely: checks its records. */
void dpx_heart_check_table(dpx_heart *heart, uint32_t disk);
/* Hands what the latest tables show to the peers, once there are tables of a majority. */
void dpx_heart_observe(dpx_heart *heart);
/* Notes what certificates the notices just read hold about slots that are wanted. */
void dpx_heart_find_certificates(dpx_heart *heart, uint32_t disk);
/* The part of the notices that somebody who is wanted stands in, if it is not ours; notice_blocks: none. */
uint32_t dpx_heart_wanted_part(const dpx_heart *heart);
/* A notice about this generation is to be written, announced, and the slot read again. */
void dpx_heart_sentence(dpx_heart *heart, uint32_t slot, uint64_t generation, bool fenced);
/* After a heartbeat: which notices served their purpose, which are wanted now. */
void dpx_heart_review(dpx_heart *heart, uint64_t now);
/* After a proof: whose notice is durable, announced and followed by a read that shows it unmoved. */
void dpx_heart_execute(dpx_heart *heart);

#endif
