/* Who is dead, and what is drained: protocol, section 5. */
#ifndef DPX_PROTOCOL_PEERS_H
#define DPX_PROTOCOL_PEERS_H

#include "world.h"

/* Why a dead incarnation's writes cannot come any more. */
typedef enum dpx_drain {
    DPX_NOT_DRAINED = 0,
    DPX_DRAINED_FENCED,   /* a notice carries the fenced / retired bit, or a fence said so here */
    DPX_DRAINED_REBOOTED, /* its machine lives on under another boot UUID */
    DPX_DRAINED_EXITED,   /* same machine and boot: its process is gone, and its I/O with it; or this is that process,
                             and it saw all that it wrote there return */
} dpx_drain;

/* What one disk showed of a slot when it was last read. */
typedef struct dpx_sight {
    bool seen;
    bool recalled; /* ‡D11: `from` is an earlier process's; until seen, what it saw */
    bool damaged;
    enum dpx_slot_state state;
    uint64_t generation;
    uint64_t sequence; /* damaged: a checksum over what is there */
    uint32_t checksum; /* … the checksum field of a sound one */
    dpx_uuid nonce;
    uint64_t from; /* completion of the first read that showed it */
    uint64_t to;   /* issue of the latest one that did */
} dpx_sight;

/* One slot as this host has watched it. */
typedef struct dpx_peer {
    bool seen;              /* some sound record was read */
    bool damaged;           /* the last reads showed only damaged copies */
    bool lost;              /* too few of the last reads showed it free, and no other copy of that generation */
    dpx_slot_record record; /* the newest sound record */
    dpx_sight sights[DPX_MAX_DISKS];
    uint64_t grown_at;      /* completion of the first reads that showed that record, or none any more */
    uint32_t changes;       /* how often any disk came to show something else */
    uint64_t still_from;    /* a majority of the disks, each for itself, showed no change from then … */
    uint64_t still_to;      /* … to then */
    uint64_t moved_at[DPX_MAX_DISKS]; /* when its counter was seen to grow, newest first (0: never yet) */
    bool dead_known;        /* incarnations of this slot up to dead_generation are dead … */
    uint64_t dead_generation;
    uint64_t wanted_generation; /* ≠ 0: somebody here needs to know whether this generation is dead … */
    uint64_t wanted_since;      /* … and first met it then … */
    uint64_t wanted_at;         /* … and last in the way then; 0: there is no hurry */
    uint64_t consulted_at;      /* a heartbeat issued then read what others say of this slot */
    bool voided;            /* the record is a claim that came to nothing, all of whose writes have returned … */
    uint64_t voided_owned;  /* … and that saw this generation in the slot's notes */
    dpx_drain drain;        /* of generation drain_generation */
    uint64_t drain_generation;
} dpx_peer;

struct dpx_peers {
    const dpx_geometry *geometry;
    uint64_t wants; /* counts incarnations that somebody here came to want */
    dpx_uuid host; /* this machine, this boot */
    dpx_uuid boot;
    dpx_incarnation self;              /* once joined (generation 0: not yet) … */
    uint64_t counter[DPX_MAX_DISKS];   /* … and its last record that is durable, per disk */
    dpx_peer slots[]; /* max_hosts */
};

size_t dpx_peers_memory(const dpx_geometry *geometry);
dpx_peers *dpx_peers_place(void *memory, const dpx_geometry *geometry, const dpx_uuid *host, const dpx_uuid *boot);

/* The newest record of a slot among copies: by (generation, sequence), but within one
 * generation active or free outrank claiming. */
bool dpx_record_newer(const dpx_slot_record *candidate, const dpx_slot_record *than);

/* Is what was read where a slot's record stands on that disk such a record, and undamaged? */
bool dpx_record_sound(const dpx_geometry *geometry, uint32_t disk, uint32_t slot, const uint8_t *data);

/* The slot table as it was read from one disk; data NULL: it was not. */
typedef struct dpx_table_read {
    const uint8_t *data;
    const bool *sound; /* which of its records are; NULL: nobody has looked yet */
    uint64_t issued;
    uint64_t completed;
} dpx_table_read;

/* What the latest reads show of all slots but one (UINT32_MAX: of all), at least a majority of the disks:
 * the newest record of each, and since when its disks show what they show. */
void dpx_peers_observe(dpx_peers *peers, const dpx_table_read reads[DPX_MAX_DISKS], uint32_t except);

/* What is known of a slot's record without a look, having been written here. */
void dpx_peers_learn(dpx_peers *peers, uint32_t slot, const dpx_slot_record *record, uint64_t at);

/* A majority of what was read last, or what was written here, shows the slot free. */
bool dpx_peer_free(const dpx_peer *peer);

/* True only when it is certain. */
bool dpx_peers_dead(const dpx_peers *peers, const dpx_incarnation *who);

/* The slot's owner was seen to beat, and two heartbeats have not gone by since. */
bool dpx_peers_moving(const dpx_peers *peers, uint32_t slot, uint64_t now);

/* Somebody claims that incarnation's slot.  A claim that goes well ends within this time, and tells (‡D1); one that
 * came to nothing, or an old one over the owner's record, stands still. */
bool dpx_peers_claimed_anew(const dpx_peers *peers, const dpx_incarnation *who, uint64_t now);

/* Unmoved for T_dead (of the owner's times): a notice may be written. */
bool dpx_peers_silent(const dpx_peers *peers, uint32_t slot);

/* This disk, for itself. */
bool dpx_peers_silent_on(const dpx_peers *peers, uint32_t slot, uint32_t disk);

/* … about the generation that is wanted: it was there before the last look, and not only since. */
bool dpx_peers_wanted_silent(const dpx_peers *peers, uint32_t slot);

/* ‡D8: the checksum of the slot's record as this disk showed it, undamaged, throughout the silence; 0: it did not. */
uint32_t dpx_peers_certificate(const dpx_peers *peers, uint32_t slot, uint32_t disk);
/* What others say of the slot was read by a heartbeat issued then. */
void dpx_peers_consulted(dpx_peers *peers, uint32_t slot, uint64_t issue);

/* ‡S8: a table that does not show what this host last completed on that disk is old content.  `counter`: of the
 * last own record that was durable there when the read was issued. */
bool dpx_peers_table_current(const dpx_peers *peers, uint32_t disk, uint64_t counter, const uint8_t *table);

/* Someone needs to know whether this incarnation is dead: the heart writes a notice about
 * it once it is silent. */
void dpx_peers_want(dpx_peers *peers, const dpx_incarnation *who, uint64_t now);
/* … by slot: the newest generation seen there (slots wanted for reclaiming). */
void dpx_peers_want_slot(dpx_peers *peers, uint32_t slot);

/* All incarnations of the slot up to this generation are dead: by notice and re-read, or by a fence. */
void dpx_peers_bury(dpx_peers *peers, uint32_t slot, uint64_t generation);

/* Facts from outside: a fence, /proc, a notice with the fenced bit. */
void dpx_peers_drained(dpx_peers *peers, uint32_t slot, uint64_t generation, dpx_drain why);

/* … about the process of this very incarnation, if it still has the slot: of another one of the same generation
 * (a claim that lay over its record, say) nothing is known. */
void dpx_peers_exited(dpx_peers *peers, const dpx_incarnation *who);

/* The claim that stands in the slot came to nothing, and whoever made it saw all its writes return.  It may lie over an
 * owner's record: of one who has written no note above `owned` (what that claim saw of them) there is none. */
void dpx_peers_voided(dpx_peers *peers, const dpx_incarnation *who, uint64_t owned);
/* What counts as `owned` of the claim that stands in the slot; UINT64_MAX: nobody said so about it. */
uint64_t dpx_peers_void_owned(const dpx_peers *peers, uint32_t slot);
/* There is an owner below it. */
void dpx_peers_unvoid(dpx_peers *peers, uint32_t slot);

/* Why nothing can come any more from the newest generation of the slot, if only it is dead. */
dpx_drain dpx_peers_evidence(const dpx_peers *peers, uint32_t slot);

/* Dead and drained, for the newest generation of the slot.  Includes the reboot rule. */
dpx_drain dpx_peers_drain(const dpx_peers *peers, uint32_t slot);

/* … and for one incarnation: its slot having been claimed again says so too. */
bool dpx_peers_incarnation_drained(const dpx_peers *peers, const dpx_incarnation *who);

/* Time left, ns, until the slot's incarnation counts as silent; 0: it does already. */
uint64_t dpx_peers_until_silent(const dpx_peers *peers, uint32_t slot, uint64_t now);

/* When another look at the slots would bring somebody's death nearer: at the end of a silence; and,
 * while a host is in the way of somebody here, soon after its last movement, for silence counts from
 * when that was seen.  DPX_NEVER: whenever. */
uint64_t dpx_peers_next_look(const dpx_peers *peers, uint64_t now);

#endif
