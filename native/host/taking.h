/* A call of dpx_host_acquire under way: shared by taking.c (what needs no I/O) and acquire.c. */
#ifndef DPX_HOST_TAKING_H
#define DPX_HOST_TAKING_H

#include "engine.h"

struct taking {
    dpx_host *host;
    dpx_caller *caller;
    dpx_ask *asks;
    uint32_t count;
    bool create;
    uint32_t retries;   /* after the storage failed us */
    bool outage;        /* … and nothing has been answered since: why */
    dpx_cause outage_cause;
    uint32_t heals;     /* own blocks of ours that were written anew */
    uint64_t heal_until; /* until when others, who were asked, may take to write theirs; 0: none was */
    bool once;          /* tries once; its deadline is one of the storage, anew for every step */
    uint64_t deadline;
    dpx_entry **entries;
    enum dpx_mode *modes;
    dpx_hold **holds;
    bool *joins;        /* shares the flag that another holder of this host has up */
    bool reserved;      /* the entries are this call's alone … */
    bool apart;         /* … but for those of `joins`: nothing is kept up while something is waited for */
    bool polls;         /* a share held here is resumed in a batch: let go of between two tries */
    uint32_t *picked;   /* which asks the present round is about */
    void *arrays;
    dpx_entry *one_entry;
    enum dpx_mode one_mode;
    dpx_hold *one_hold;
    bool one_join;
    uint32_t one_picked;
    dpx_task *task;     /* the last round's, for the next one */
    dpx_failure *failure;
};

dpx_status dpx_check_asks(const dpx_ask *asks, uint32_t count, dpx_failure *failure);
bool dpx_taking_arrays(struct taking *taking, uint32_t count); /* false: no memory */
/* Everything that needs memory, before anything is raised. */
dpx_status dpx_taking_gather(struct taking *taking);
/* Conflicts within the host: afterwards all entries are this call's alone, but for shares that it only joins. */
dpx_status dpx_taking_reserve(struct taking *taking);
void dpx_taking_unreserve(struct taking *taking);
/* What was to be joined is still held here, and shared. */
bool dpx_taking_rejoin(const struct taking *taking);
uint64_t dpx_taking_deadline(const struct taking *taking); /* of the next step */
/* A step's deadline that became 0: the caller's own patience is at its end, for all further steps. */
void dpx_taking_heed(struct taking *taking, uint64_t deadline);

#endif
