/* Which leases this host knows, and who holds handles on them. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_TABLE 256u
#define FIRST_HOLDS 64u
#define INDEX_BITS 24u /* of a handle; the rest is a serial number, so that no handle comes twice */

static uint64_t hash_of(const char *name, size_t length)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)name[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

int dpx_table_open(dpx_host *host)
{
    host->table = calloc(FIRST_TABLE, sizeof(dpx_entry *));
    if (!host->table)
        return -ENOMEM;
    host->table_size = FIRST_TABLE;
    host->owners = calloc(host->geometry.max_leases, sizeof(dpx_entry *));
    host->world.in_flight = calloc(host->geometry.max_leases, 1);
    host->world.sequences = calloc(host->geometry.max_leases, sizeof(uint64_t));
    host->world.ballots = calloc(host->geometry.max_leases, sizeof(uint64_t));
    host->world.written = calloc((size_t)host->geometry.max_leases * DPX_MAX_DISKS, sizeof(uint64_t));
    if (!host->owners || !host->world.in_flight || !host->world.sequences || !host->world.ballots ||
        !host->world.written)
        return -ENOMEM;
    host->directory = dpx_entry_get(host, DPX_DIRECTORY_NAME, strlen(DPX_DIRECTORY_NAME));
    return host->directory ? 0 : -ENOMEM;
}

void dpx_table_close(dpx_host *host)
{
    while (host->entries) {
        dpx_entry *entry = host->entries;
        host->entries = entry->next;
        free(entry);
    }
    for (uint32_t i = 0; i < host->holds_size; i++)
        free(host->holds[i]);
    free(host->holds);
    free(host->table);
    free(host->owners);
    free(host->world.in_flight);
    free(host->world.sequences);
    free(host->world.ballots);
    free(host->world.written);
}

/* ---- entries ---- */

static dpx_entry **bucket(const dpx_host *host, uint64_t hash)
{
    return &host->table[hash & (host->table_size - 1)];
}

static void grow_table(dpx_host *host)
{
    uint32_t size = host->table_size * 2;
    dpx_entry **table = calloc(size, sizeof *table);
    if (!table)
        return; /* longer chains will do */
    free(host->table);
    host->table = table;
    host->table_size = size;
    for (dpx_entry *entry = host->entries; entry; entry = entry->next) {
        if (entry == host->nameless)
            continue;
        dpx_entry **at = bucket(host, entry->hash);
        entry->chain = *at;
        *at = entry;
    }
}

dpx_entry *dpx_entry_find(dpx_host *host, const char *name, size_t length)
{
    uint64_t hash = hash_of(name, length);
    dpx_entry *entry = *bucket(host, hash);
    while (entry && (entry->hash != hash || entry->lease.name_length != length ||
                     memcmp(entry->lease.name, name, length) != 0))
        entry = entry->chain;
    return entry;
}

static dpx_entry *entry_new(dpx_host *host, const char *name, size_t length)
{
    dpx_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    dpx_lease_reset(&entry->lease, name, length);
    entry->hash = hash_of(name, length);
    entry->next = host->entries;
    host->entries = entry;
    host->entry_count++;
    return entry;
}

dpx_entry *dpx_entry_get(dpx_host *host, const char *name, size_t length)
{
    dpx_entry *entry = dpx_entry_find(host, name, length);
    if (entry)
        return entry;
    if (host->entry_count >= host->table_size)
        grow_table(host);
    entry = entry_new(host, name, length);
    if (!entry)
        return NULL;
    dpx_entry **at = bucket(host, entry->hash);
    entry->chain = *at;
    *at = entry;
    return entry;
}

/* ---- areas ---- */

static dpx_entry *owner_of(const dpx_host *host, uint32_t area)
{
    dpx_entry *owner = host->owners[area];
    bool there = owner && owner->lease.located && owner->lease.header.area == area;
    return there ? owner : NULL;
}

bool dpx_area_claim(dpx_host *host, dpx_entry *entry, uint32_t area)
{
    dpx_entry *owner = owner_of(host, area);
    if (owner && owner == entry)
        return true;
    if (owner) {
        if (owner->busy != DPX_IDLE || owner->lease.hold != 0)
            return false;
        dpx_lease_unlocate(&owner->lease); /* a name that moved, or is gone */
    }
    host->owners[area] = entry;
    return true;
}

dpx_entry *dpx_entry_by_area(dpx_host *host, uint32_t area)
{
    dpx_entry *entry = owner_of(host, area);
    if (entry)
        return entry;
    entry = host->nameless;
    if (!entry)
        entry = host->nameless = entry_new(host, "", 0);
    return entry;
}

/* ---- handles ---- */

static bool grow_holds(dpx_host *host)
{
    uint32_t size = host->holds_size ? host->holds_size * 2 : FIRST_HOLDS;
    if (size > 1u << INDEX_BITS)
        return false;
    dpx_hold **holds = realloc(host->holds, size * sizeof(dpx_hold *));
    if (!holds)
        return false;
    host->holds = holds;
    for (uint32_t i = host->holds_size; i < size; i++) {
        dpx_hold *hold = calloc(1, sizeof *hold);
        if (!hold)
            return i > host->holds_size;
        hold->handle = i; /* only its index, while it is free */
        hold->next = host->holds_free;
        host->holds_free = hold;
        holds[i] = hold;
        host->holds_size = i + 1;
    }
    return true;
}

dpx_hold *dpx_hold_new(dpx_host *host)
{
    if (!host->holds_free && !grow_holds(host))
        return NULL;
    dpx_hold *hold = host->holds_free;
    uint64_t index = hold->handle;
    host->holds_free = hold->next;
    memset(hold, 0, sizeof *hold);
    hold->handle = ++host->serial << INDEX_BITS | index;
    return hold;
}

void dpx_hold_give(dpx_host *host, dpx_hold *hold, dpx_entry *entry)
{
    hold->entry = entry;
    hold->state = DPX_HOLD_HELD;
    hold->next = entry->holds;
    if (entry->holds)
        entry->holds->previous = hold;
    entry->holds = hold;
    entry->holders++;
    host->held++;
}

void dpx_hold_drop(dpx_host *host, dpx_hold *hold)
{
    dpx_entry *entry = hold->entry;
    if (entry) {
        dpx_untell(host, hold);
        if (hold->previous)
            hold->previous->next = hold->next;
        else
            entry->holds = hold->next;
        if (hold->next)
            hold->next->previous = hold->previous;
        host->held--;
        if (--entry->holders == 0)
            entry->lost = false;
    }
    hold->entry = NULL;
    hold->handle &= (UINT64_C(1) << INDEX_BITS) - 1;
    hold->next = host->holds_free;
    host->holds_free = hold;
}

dpx_hold *dpx_hold_find(const dpx_host *host, uint64_t handle)
{
    uint64_t index = handle & ((UINT64_C(1) << INDEX_BITS) - 1);
    if (index >= host->holds_size)
        return NULL;
    dpx_hold *hold = host->holds[index];
    return hold->entry && hold->handle == handle ? hold : NULL;
}

void dpx_entry_lose(dpx_host *host, dpx_entry *entry)
{
    for (dpx_hold *hold = entry->holds; hold; hold = hold->next) {
        if (hold->state == DPX_HOLD_LOST)
            continue;
        hold->state = DPX_HOLD_LOST;
        dpx_tell_lost(host, hold);
    }
    entry->lost = entry->holders > 0;
}
