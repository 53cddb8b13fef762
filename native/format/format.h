/* Encode, decode and validate every block.  Pure: no system call, no clock, no allocation.
 *
 * A block is trusted only through dpx_block_check; the decoders below assume it passed.
 * Every encoder zeroes the whole block first, fills the common header and ends with the
 * checksum, so a block never carries a byte that was not meant.
 */
#ifndef DPX_FORMAT_FORMAT_H
#define DPX_FORMAT_FORMAT_H

#include <stdbool.h>

#include "layout.h"

/* ---- geometry: what the superblock says, and where things therefore lie ---- */

typedef struct dpx_geometry {
    dpx_uuid uuid;
    uint32_t block_size;
    uint32_t max_hosts;
    uint32_t max_leases;
    uint32_t disks;
    uint32_t disk_generation[DPX_MAX_DISKS];
    uint64_t outage_tolerance; /* S, ns; the following three likewise */
    uint64_t kill_grace;       /* K */
    uint64_t watchdog_timeout; /* W */
    uint64_t claim_time;       /* T_claim */
    uint64_t features_compatible;
    uint64_t features_incompatible;
    uint64_t created_at; /* wall clock, ns */
    char name[DPX_SPACE_NAME_MAX + 1];

    /* Derived by dpx_geometry_derive; block numbers and counts of blocks. */
    uint64_t slots_at;
    uint64_t notices_at;
    uint64_t groups_at;
    uint64_t areas_at;
    uint32_t notice_blocks; /* per slot, and parts of the region of notices */
    uint32_t group_blocks;
    uint32_t notice_entries; /* per block */
    uint32_t area_blocks;   /* per lease, padding included; 1 + max_hosts of them carry meaning */
    uint64_t total_blocks;
} dpx_geometry;

/* Fills the derived fields.  False, and nothing derived, when a given field is out of
 * range (see layout.h; block_size 512 or 4096; disks 1, 3 or 5; times > 0; W <= K). */
bool dpx_geometry_derive(dpx_geometry *geometry);

uint64_t dpx_slot_block(const dpx_geometry *geometry, uint32_t slot);
/* Block `part` of a slot's notices.  All blocks of one part lie side by side, so that what is said about a
 * slot is fetched by one read: part slot / notice_entries, max_hosts blocks from that of slot 0. */
uint64_t dpx_notice_block(const dpx_geometry *geometry, uint32_t slot, uint32_t part);
uint64_t dpx_group_block(const dpx_geometry *geometry, uint32_t group);
uint64_t dpx_header_block(const dpx_geometry *geometry, uint32_t area);
uint64_t dpx_own_block(const dpx_geometry *geometry, uint32_t area, uint32_t slot);

/* T_dead = (S + K + W) * 1.11 + S / 8, rounded up; of the given times (the owner's count). */
uint64_t dpx_dead_time(uint64_t outage_tolerance, uint64_t kill_grace, uint64_t watchdog_timeout);

/* Where the probing for a lease name starts: hash(name) mod max_leases. */
uint32_t dpx_home_area(const dpx_geometry *geometry, const char *name, size_t length);

/* 1 to 200 bytes of valid UTF-8 without NUL, newline or other control characters. */
bool dpx_name_valid(const char *name, size_t length, size_t limit);

/* ---- validation ---- */

typedef enum dpx_flaw {
    DPX_SOUND = 0,
    DPX_FLAW_ZEROED,
    DPX_FLAW_MAGIC,
    DPX_FLAW_VERSION,
    DPX_FLAW_CHECKSUM,
    DPX_FLAW_LOCKSPACE, /* another lockspace's UUID */
    DPX_FLAW_KIND,
    DPX_FLAW_DISK,
    DPX_FLAW_INDEX,
    DPX_FLAW_FIELD, /* checksum right, a field out of its range */
} dpx_flaw;

const char *dpx_flaw_text(dpx_flaw flaw);

/* CRC-32C (Castagnoli, reflected, as in RFC 3720) by instruction where there is one. */
uint32_t dpx_crc32c(uint32_t crc, const void *data, size_t length);
uint32_t dpx_crc32c_portable(uint32_t crc, const void *data, size_t length); /* the table; for tests */

/* Checks everything that makes a block trustworthy: magic, version, checksum, lockspace,
 * kind, disk, index and the ranges of its fields.  `data` holds geometry->block_size bytes. */
dpx_flaw dpx_block_check(const void *data, const dpx_geometry *geometry, enum dpx_kind kind,
                         uint32_t disk, uint64_t index);

/* The superblock is what tells the geometry, so it is checked by itself: `length` bytes
 * from the start of the disk (512 suffices to look; block_size bytes to verify).
 * Fills *geometry (derived fields too) and *disk only when sound.  DPX_FLAW_VERSION for
 * an unknown version; unknown incompatible feature bits are the caller's to refuse. */
dpx_flaw dpx_superblock_decode(const void *data, size_t length, dpx_geometry *geometry,
                               uint32_t *disk, uint64_t *sequence);
void dpx_superblock_encode(void *data, const dpx_geometry *geometry, uint32_t disk,
                           uint64_t sequence, uint64_t written_at);
/* Do the slot records behind a sound superblock (`length` bytes from where they begin) agree that it is this disk
 * of this lockspace?  DPX_FLAW_DISK, DPX_FLAW_LOCKSPACE: more of the sound ones say otherwise. */
dpx_flaw dpx_superblock_belongs(const dpx_geometry *geometry, uint32_t disk, const void *records, size_t length);

/* What orders the copies of a block, without decoding the rest of it. */
typedef struct dpx_key {
    uint8_t kind;
    uint64_t index;
    uint64_t generation;
    uint64_t sequence;
} dpx_key;
dpx_key dpx_block_key(const void *data);

/* The checksum field of a block: of a sound one, a short name for exactly that content. */
uint32_t dpx_block_checksum(const void *data);
/* The same of any block, sound or not; never 0. */
uint32_t dpx_block_identity(const void *data, const dpx_geometry *geometry, bool sound);

/* ---- decoded blocks ---- */

typedef struct dpx_incarnation {
    uint32_t slot;
    uint64_t generation;
    dpx_uuid nonce;
} dpx_incarnation;

static inline bool dpx_uuid_equal(const dpx_uuid *a, const dpx_uuid *b)
{
    uint8_t difference = 0;
    for (int i = 0; i < 16; i++)
        difference |= (uint8_t)(a->bytes[i] ^ b->bytes[i]);
    return difference == 0;
}

static inline bool dpx_incarnation_equal(const dpx_incarnation *a, const dpx_incarnation *b)
{
    return a->slot == b->slot && a->generation == b->generation && dpx_uuid_equal(&a->nonce, &b->nonce);
}

/* Order of copies of one block: (generation, sequence).  < 0, 0, > 0 like memcmp. */
static inline int dpx_copy_order(uint64_t generation_a, uint64_t sequence_a, uint64_t generation_b,
                                 uint64_t sequence_b)
{
    if (generation_a != generation_b)
        return generation_a < generation_b ? -1 : 1;
    if (sequence_a != sequence_b)
        return sequence_a < sequence_b ? -1 : 1;
    return 0;
}

/* A request to another host, in the asker's own slot record. */
typedef struct dpx_mail {
    enum dpx_mail_kind kind;
    uint32_t slot;
    uint64_t generation;
    uint32_t area;
    uint64_t serial;
} dpx_mail;

typedef struct dpx_slot_record {
    dpx_incarnation who; /* generation also of a free record */
    uint64_t sequence;
    uint64_t written_at;
    enum dpx_slot_state state;
    uint8_t flags;
    uint64_t counter;
    dpx_uuid host;
    dpx_uuid boot;
    uint64_t pid;
    uint64_t start_time;
    uint64_t pid_namespace;
    uint32_t notices;
    uint32_t software;
    uint64_t joined_at;
    uint64_t outage_tolerance; /* the owner's S, K, W, ns */
    uint64_t kill_grace;
    uint64_t watchdog_timeout;
    dpx_mail mailbox[DPX_MAILS];
    dpx_incarnation predecessor; /* generation 0: none */
    uint64_t reservation_key;
    uint64_t time_namespace;
    char host_name[DPX_HOST_NAME_MAX + 1];
} dpx_slot_record;

void dpx_slot_decode(const void *data, dpx_slot_record *record);
void dpx_slot_encode(void *data, const dpx_geometry *geometry, uint32_t disk, const dpx_slot_record *record);

/* What one slot says of another: about, DPX_NOTICE_GENERATION and DPX_NOTICE_FENCED (0: nothing); certificate,
 * the checksum field of the record whose silence that rests on, on the disk where the entry lies (0: nothing). */
typedef struct dpx_notice {
    uint32_t about;
    uint32_t certificate;
} dpx_notice;

/* entries: geometry->notice_entries of them, the ones of this part of the array. */
void dpx_notice_decode(const void *data, const dpx_geometry *geometry, dpx_incarnation *who, uint64_t *sequence,
                       dpx_notice *entries);
void dpx_notice_encode(void *data, const dpx_geometry *geometry, uint32_t disk, uint32_t part,
                       const dpx_incarnation *who, uint64_t sequence, uint64_t written_at,
                       const dpx_notice *entries);
/* Its writer, without decoding the rest. */
dpx_incarnation dpx_notice_writer(const void *data, uint32_t slot);
/* One entry of a block, without decoding the rest. */
dpx_notice dpx_notice_entry(const void *data, uint32_t position);

typedef struct dpx_header {
    uint64_t directory_token; /* the block's generation */
    uint64_t sequence;
    uint64_t written_at;
    uint32_t area;
    enum dpx_lease_state state;
    dpx_uuid lease;
    uint64_t first_ballot;
    uint64_t created_at;
    uint8_t name_length;
    char name[DPX_LEASE_NAME_MAX + 1];
} dpx_header;

void dpx_header_decode(const void *data, dpx_header *header);
void dpx_header_encode(void *data, const dpx_geometry *geometry, uint32_t disk, const dpx_header *header);

typedef struct dpx_own {
    dpx_incarnation who;
    uint64_t sequence;
    uint64_t written_at;
    uint32_t area;
    dpx_uuid lease;
    uint64_t directory_token;
    uint64_t ballot;
    uint64_t hold;
    uint64_t last_exclusive;
    uint64_t certainly_taken;
    uint64_t change_token;
    uint64_t ticket;
    uint64_t ticket_at;
    uint64_t held_since;
    uint32_t target;
    enum dpx_mode mode;
    bool taken;
    dpx_uuid holder;
    uint8_t label_length;
    char label[65];
} dpx_own;

void dpx_own_decode(const void *data, dpx_own *own);
void dpx_own_encode(void *data, const dpx_geometry *geometry, uint32_t disk, const dpx_own *own);

/* ---- an empty lockspace ---- */

/* Writes into `data` the valid empty block that `init` puts at `index` (never the
 * superblock, which comes last).  Area 0's header is the directory, in use. */
void dpx_empty_encode(void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t index,
                      uint64_t written_at);

/* What lies at a block number; padding blocks have kind 0. */
typedef struct dpx_place {
    uint8_t kind; /* enum dpx_kind, or 0 */
    uint32_t slot;
    uint32_t part;
    uint32_t area;
    uint32_t group;
} dpx_place;
dpx_place dpx_place_of(const dpx_geometry *geometry, uint64_t index);

/* ---- the layout as a table, for numpy dtypes and documentation ---- */

typedef struct dpx_field {
    uint8_t kind; /* enum dpx_kind; 0: the common header */
    const char *name;
    uint16_t offset;
    uint16_t size;     /* of one element */
    uint16_t count;    /* 1, or the length of an array */
    char type;         /* 'u' unsigned integer, 'b' bytes, 's' text (length in NAME_length), 'i' UUID */
} dpx_field;
extern const dpx_field dpx_fields[];
extern const size_t dpx_field_count;

#endif
