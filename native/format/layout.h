/* On-disk layout of a diskpaxos lockspace: the one definition of every byte.
 *
 * Each structure below is exactly what lies on the disk: little-endian, naturally
 * aligned, no implicit padding, zero in every reserved field.  The numpy dtypes of
 * diskpaxos.inspect and the tables in docs/format.md are derived from or checked
 * against the field table that format/fields.c exports from here.
 *
 * docs/protocol.md, section 2, says what the blocks mean.
 */
#ifndef DPX_FORMAT_LAYOUT_H
#define DPX_FORMAT_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define DPX_MAGIC "DPAXOS\r\n" /* 8 bytes; the CR LF shows up text-mode damage */
#define DPX_FORMAT_VERSION 2 /* frozen: what comes later is a feature bit */

#define DPX_BLOCK_MIN 512u
#define DPX_BLOCK_MAX 4096u
#define DPX_ALIGNMENT 4096u /* of every region and of every lease area */

#define DPX_MAX_DISKS 5u
#define DPX_MIN_HOSTS 2u
#define DPX_MAX_HOSTS 4096u
#define DPX_MIN_LEASES 2u          /* the directory and one more */
#define DPX_MAX_LEASES 1048576u
#define DPX_LEASE_NAME_MAX 200u    /* bytes of UTF-8 */
#define DPX_SPACE_NAME_MAX 63u     /* bytes of UTF-8 */
#define DPX_HOST_NAME_MAX 63u      /* bytes of UTF-8 */
#define DPX_VALUE_MAX 160u         /* bytes of a lease's value */

#define DPX_DIRECTORY_AREA 0u      /* lease 0 */
#define DPX_DIRECTORY_NAME "directory"

/* A ballot is round * 65536 + slot; past the ceiling no new ballot is chosen. */
#define DPX_BALLOT_SLOTS 65536u
#define DPX_BALLOT_CEILING (UINT64_C(1) << 62)

enum dpx_kind {
    DPX_KIND_SUPERBLOCK = 1,
    DPX_KIND_SLOT = 2,
    DPX_KIND_NOTICE = 3,
    DPX_KIND_HEADER = 4,
    DPX_KIND_OWN = 5,
    DPX_KIND_GROUP = 6,
};

enum dpx_slot_state { DPX_SLOT_FREE = 0, DPX_SLOT_CLAIMING = 1, DPX_SLOT_ACTIVE = 2 };

enum dpx_lease_state { DPX_LEASE_FREE = 0, DPX_LEASE_IN_USE = 1, DPX_LEASE_TOMBSTONE = 2 };

enum dpx_mode { DPX_MODE_NONE = 0, DPX_MODE_SHARED = 1, DPX_MODE_EXCLUSIVE = 2 };

/* Flags of a slot record. */
#define DPX_SLOT_DRAINS_ON_EXIT 0x01u /* all its I/O is such that process exit waits for it */
#define DPX_SLOT_AGENT 0x02u          /* a host agent, whose holders may outlive it (S15) */

/* What a host asks of another one, in the mailbox of its own slot record. */
enum dpx_mail_kind {
    DPX_MAIL_NONE = 0,
    DPX_MAIL_REWRITE = 1, /* your own block in this area is damaged: write it anew */
};
#define DPX_MAILS 2u

/* A notice entry: 31 low bits of a generation, and whether the machine was fenced or
 * the slot retired by an administrator (its writes cannot come any more). */
#define DPX_NOTICE_FENCED UINT32_C(0x80000000)
#define DPX_NOTICE_GENERATION UINT32_C(0x7fffffff)

typedef struct dpx_uuid {
    uint8_t bytes[16];
} dpx_uuid;

/* The first 64 bytes of every block. */
typedef struct dpx_disk_common {
    uint8_t magic[8];
    uint16_t version;
    uint8_t kind;        /* enum dpx_kind */
    uint8_t disk;        /* index of this disk in the lockspace: 0 … disks-1 */
    uint32_t crc32c;     /* of the whole block, this field zero */
    dpx_uuid lockspace;
    uint64_t index;      /* of this block on its disk */
    uint64_t generation; /* copies are ordered by (generation, sequence): see protocol 2 */
    uint64_t sequence;
    uint64_t written_at; /* wall clock of the writer, ns since 1970; for people only */
} dpx_disk_common;
static_assert(sizeof(dpx_disk_common) == 64, "common header");

/* What a lost superblock is rebuilt from; repeated in slot records and lease headers. */
typedef struct dpx_disk_shape {
    uint32_t block_size;
    uint32_t max_hosts;
    uint32_t max_leases;
    uint32_t disk_generation[5];
    uint64_t outage_tolerance; /* S, ns */
    uint64_t kill_grace;       /* K, ns */
    uint64_t watchdog_timeout; /* W, ns */
    uint64_t claim_time;       /* T_claim, ns */
    uint8_t disks;             /* 1, 3 or 5 */
    uint8_t reserved[7];
} dpx_disk_shape;
static_assert(sizeof(dpx_disk_shape) == 72, "shape");

/* generation: that of this disk (raised by rebuild). */
typedef struct dpx_disk_superblock {
    dpx_disk_common common;
    dpx_disk_shape shape;
    uint64_t features_compatible;   /* unknown bits: fine */
    uint64_t features_incompatible; /* unknown bits: do not touch */
    uint64_t created_at;            /* wall clock, ns */
    uint8_t name_length;
    uint8_t name[63];
    uint8_t reserved[288];
} dpx_disk_superblock;
static_assert(sizeof(dpx_disk_superblock) == 512, "superblock");

/* A request to the owner of another slot.  Only a request about its very incarnation concerns it. */
typedef struct dpx_disk_mail {
    uint32_t kind; /* enum dpx_mail_kind; an unknown one is passed over */
    uint32_t slot; /* to whom */
    uint64_t generation;
    uint32_t area;
    uint32_t reserved;
    uint64_t serial; /* new with each request of this incarnation */
} dpx_disk_mail;
static_assert(sizeof(dpx_disk_mail) == 32, "request");

/* generation: of the slot; sequence: of this record, never restarts in a generation. */
typedef struct dpx_disk_slot {
    dpx_disk_common common;
    uint32_t slot;
    uint8_t state; /* enum dpx_slot_state */
    uint8_t flags; /* DPX_SLOT_* */
    uint8_t host_name_length;
    uint8_t space_name_length;
    dpx_uuid nonce;
    uint64_t counter; /* heartbeats of this incarnation, never repeated */
    dpx_uuid host;    /* machine */
    dpx_uuid boot;
    uint64_t pid;
    uint64_t start_time;    /* of that process, clock ticks since boot in the first time namespace; 0: not known */
    uint64_t pid_namespace; /* inode of /proc/PID/ns/pid */
    uint32_t notices;       /* entries set in this slot's notice blocks */
    uint32_t software;      /* major << 16 | minor << 8 | patch */
    uint64_t joined_at;     /* wall clock, ns */
    dpx_disk_shape shape;
    uint8_t host_name[63];
    uint8_t space_name[63];
    uint8_t reserved[2];
    dpx_disk_mail mailbox[DPX_MAILS];
    uint64_t predecessor_generation; /* the incarnation whose holders this one adopts; 0: none */
    dpx_uuid predecessor_nonce;
    uint64_t reservation_key; /* of a persistent reservation on the device; 0: none */
    uint64_t time_namespace;  /* inode of /proc/PID/ns/time; 0: unknown */
    uint32_t predecessor_slot;
    uint8_t reserved_end[36];
} dpx_disk_slot;
static_assert(sizeof(dpx_disk_slot) == 512, "slot record");

/* generation and nonce: of the incarnation that wrote it.  Entry i of a slot's array is about slot i:
 * the low 32 bits say which of its incarnations are dead, the high ones certify the silence that says so
 * (the checksum of the slot's record as this disk showed it all that time; 0: nothing is certified). */
#define DPX_NOTICES_PER_SECTOR 54u
typedef struct dpx_disk_notice {
    dpx_disk_common common;
    dpx_uuid nonce;
    uint64_t entries[DPX_NOTICES_PER_SECTOR]; /* a 4096-byte block holds 502 */
} dpx_disk_notice;
static_assert(sizeof(dpx_disk_notice) == 512, "notice block");

/* One for every 64 slots.  Reserved: a place where heartbeats of a group might be summed up. */
#define DPX_GROUP_SLOTS 64u
typedef struct dpx_disk_group {
    dpx_disk_common common;
    uint32_t group;
    uint8_t reserved[444];
} dpx_disk_group;
static_assert(sizeof(dpx_disk_group) == 512, "group block");

/* generation: the directory token under which it was written (so copies stay ordered
 * across writers); sequence: +1 with each write. */
typedef struct dpx_disk_header {
    dpx_disk_common common;
    uint32_t area;
    uint8_t state; /* enum dpx_lease_state */
    uint8_t name_length;
    uint8_t reserved_a[2];
    dpx_uuid lease;        /* new at every creation */
    uint64_t first_ballot; /* every ballot under this UUID is above it */
    uint64_t created_at;   /* wall clock, ns */
    dpx_disk_shape shape;
    uint8_t name[200];
    uint8_t reserved[136];
} dpx_disk_header;
static_assert(sizeof(dpx_disk_header) == 512, "lease header");

/* generation: of the incarnation that wrote it; sequence: of its writes here. */
typedef struct dpx_disk_own {
    dpx_disk_common common;
    uint32_t slot;
    uint32_t area;
    dpx_uuid nonce;
    dpx_uuid lease;
    uint64_t directory_token; /* of the header that the writer saw */
    uint64_t ballot;          /* the highest of this slot here */
    uint64_t hold;            /* 0, or the token held or tried for: the raised flag */
    uint64_t last_exclusive;  /* highest ballot of an exclusive attempt that was not voided */
    uint64_t change_token;    /* ≠ 0: the writer changes this area's header under that directory token, or (hold 0)
                                 an earlier owner of its slot did, and left it half made */
    uint64_t ticket;          /* waiter's mark: lower ones come first; 0: does not wait */
    uint64_t ticket_at;       /* wall clock, ns, of the mark */
    uint64_t held_since;      /* wall clock, ns; 0 when not held */
    uint32_t target;          /* in area 0: the area whose header is about to change */
    uint8_t mode;             /* enum dpx_mode; with a ticket: what is waited for */
    uint8_t label_length;
    uint8_t value_length;
    uint8_t taken;             /* 1: the flag is certainly a holder's, no attempt's */
    uint8_t label[64];         /* of the holder or waiter, for people */
    uint64_t certainly_taken;  /* highest token under which this slot has certainly taken the lease exclusively */
    dpx_uuid holder;           /* of the VM, or of whatever else holds or waits; zero: none given */
    uint64_t value_token;      /* under which the value was written */
    uint8_t value[DPX_VALUE_MAX]; /* reserved: what holders of the lease leave to the next one */
    uint8_t reserved[80];
} dpx_disk_own;
static_assert(sizeof(dpx_disk_own) == 512, "own block");

#endif
