/* What an area read says: is the image fit to count, and what stands in it. */
#ifndef DPX_PROTOCOL_AREA_H
#define DPX_PROTOCOL_AREA_H

#include "lease.h"
#include "peers.h"

typedef enum dpx_image {
    DPX_IMAGE_COUNTS,
    DPX_IMAGE_REGRESSED,  /* the own block is older than our last completed write there */
    DPX_IMAGE_OWN_FLAWED, /* only the own block is damaged */
    DPX_IMAGE_FLAWED,     /* some other block is damaged: cause says which */
    DPX_IMAGE_SUPERSEDED, /* a block of a newer incarnation of our slot: our life is over */
    DPX_IMAGE_REVERTED,   /* our own block says what we never wrote: so is it */
} dpx_image;

/* Checks one disk's image of an area (area_blocks blocks).  written: the sequence of our last
 * write there that had completed before the read was issued; 0: none.  cause: filled for a
 * damaged one. */
dpx_image dpx_image_check(const dpx_world *world, uint64_t written, uint32_t disk, uint32_t area,
                          const uint8_t *image, dpx_cause *cause);

/* Who waits, as far as it matters to an attempt: living hosts' marks under the header's lease UUID,
 * later than dpx_attempt.passed. */
typedef struct dpx_line {
    uint64_t top;       /* highest ticket of others, whoever they are */
    bool passed_stands; /* the mark that was passed over is still there */
    uint32_t waiters;   /* marks in the way of the attempt's mode … */
    uint32_t ahead;     /* … with an earlier ticket … */
    dpx_mark first;     /* … and the earliest of them */
} dpx_line;

/* The images of a majority, merged: of every block the newest copy. */
typedef struct dpx_view {
    dpx_header header;
    bool own_seen;              /* a copy of our slot's block with a writer (generation ≠ 0) */
    dpx_own own;
    uint64_t top;               /* highest ballot, hold or first_ballot of the area, our own included */
    uint64_t top_others;        /* highest ballot of other slots */
    uint64_t last_exclusive;    /* highest of other slots */
    uint64_t certainly_taken;   /* highest ballot at which another slot certainly took it exclusively */
    uint64_t overridden;        /* highest flag of the dead that would be in the way of the attempt */
    bool certain_sharer;        /* a flag in the way of the attempt, above it, is certainly a sharer's */
    bool header_stale;          /* its directory token is below one that a block has seen: damaged */
    bool header_agreed;         /* a majority shows the header in this very version */
    bool change_pending;        /* somebody's flag announces a header change that was not followed by another … */
    bool change_unmade;         /* … and no majority shows the header that was announced */
    bool change_open;           /* a dead incarnation left a header change half made … */
    bool change_undrained;      /* … and its header write may still come */
    dpx_incarnation changer;    /* of one that is undrained, else open, else unmade */
    dpx_flag higher;            /* a flag in the way of the attempt, above its ballot; hold 0: none */
    dpx_flag lower;             /* one below it */
    dpx_line line;
} dpx_view;

typedef struct dpx_attempt {
    uint64_t ballot;    /* 0: only looking; then every flag in the way counts as lower */
    enum dpx_mode mode; /* of the attempt: decides which flags are in the way; NONE: none is */
    uint64_t ticket;    /* of the attempt's own mark; 0: none, so that all others come first */
    dpx_mark passed;
} dpx_attempt;

bool dpx_mark_before(const dpx_mark *mark, const dpx_mark *other);
bool dpx_mark_equal(const dpx_mark *a, const dpx_mark *b);

/* images[d] is NULL where disk d does not count.  flawed blocks are skipped (only `rewrite`
 * lets such images in). */
void dpx_view_scan(const dpx_world *world, uint32_t area, const uint8_t *const images[DPX_MAX_DISKS],
                   dpx_attempt attempt, uint64_t now, dpx_view *view);

/* A majority shows this area free in one and the same version, and nothing there says that this may yet
 * change: no announced header change, made or not, and no block that has seen a newer header. */
bool dpx_area_settled_free(const dpx_world *world, uint32_t area, const uint8_t *const images[DPX_MAX_DISKS]);

#endif
