/* The heart's state, shared by heart.c (chains and beats) and heart_notices.c (judging others). */
#ifndef DPX_PROTOCOL_HEART_STATE_H
#define DPX_PROTOCOL_HEART_STATE_H

#include "heart.h"

enum heart_link { LINK_IDLE, LINK_NOTICES, LINK_RECORD, LINK_READ_NOTICES, LINK_FREE };

struct heart_channel {
    dpx_request request;
    dpx_extent *writes; /* notice_blocks, or 1 */
    dpx_extent *reads;  /* max_hosts */
    uint8_t *record;    /* one block */
    uint8_t *own_notices;
    uint8_t *table[2];  /* the last one read completely, and the one being read */
    uint8_t *notices;   /* one block of each other slot */
    bool *sound;        /* which records of table[front] are: looked at once, when it was read */
    uint32_t front;
    enum heart_link link;
    bool suspect;           /* the claim's write has not returned here */
    bool due;               /* a beat wants this disk */
    bool freed;             /* leaving: the free record is durable here … */
    bool spent;             /* … or may be, for all that is known: never written twice */
    uint64_t issue;         /* of the chain under way */
    uint64_t counter;       /* written by it */
    uint32_t version;       /* of the notices announced by it */
    uint32_t durable;       /* version of the notice blocks on this disk */
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
    bool done;
    uint32_t base_changes; /* of what the disks show of the slot, when it was passed */
};

struct dpx_heart {
    dpx_world *world;
    dpx_slot_record record;
    dpx_end end;
    bool leaving;
    bool hurry;
    uint64_t next_beat;
    uint64_t last_proof; /* the issue that the lifetime runs from */
    uint32_t version;    /* of entries[] */
    dpx_notice *entries; /* max_hosts */
    struct sentence *sentences; /* max_hosts */
    dpx_heart_numbers numbers;
    struct heart_channel channels[DPX_MAX_DISKS];
};

/* One slot's record in the last table that was read completely on this disk. */
const uint8_t *dpx_heart_row(const struct heart_channel *channel, const dpx_geometry *geometry, uint32_t slot);
/* A table was read completely: checks its records. */
void dpx_heart_check_table(dpx_heart *heart, uint32_t disk);
/* Hands what the latest tables show to the peers, once there are tables of a majority. */
void dpx_heart_observe(dpx_heart *heart);
/* A notice about this generation is to be written, announced, and the slot read again. */
void dpx_heart_sentence(dpx_heart *heart, uint32_t slot, uint64_t generation, bool fenced);
/* After a heartbeat: which notices served their purpose, which are wanted now. */
void dpx_heart_review(dpx_heart *heart, uint64_t now);
/* After a proof: whose notice is durable, announced and followed by a read that shows it unmoved. */
void dpx_heart_execute(dpx_heart *heart);

#endif
