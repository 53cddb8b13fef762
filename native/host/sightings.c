#include "engine.h"
#include "sightings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "DPXSEEN1"
#define LOCK_TRIES 20
#define LOCK_PAUSE 5000 /* µs: whoever has it writes a few kilobytes of memory */
#define INITIAL_TIME_NAMESPACE 4026531834u /* its inode, in every Linux that has time namespaces */

/* As it lies in the file, in this machine's own byte order.  Each CRC is that of the whole structure with the field
 * zero. */
struct file_head {
    char magic[8];
    uint32_t crc;
    uint32_t max_hosts;
    uint32_t disks;
    uint32_t reserved;
    dpx_uuid lockspace;
    dpx_uuid boot;
};

struct file_entry {
    uint32_t crc;
    uint32_t checksum;
    uint64_t from;
    uint64_t generation;
    uint64_t sequence;
    dpx_uuid nonce;
    uint32_t disk;
    uint32_t slot;
    uint8_t sound;
    uint8_t state;
    uint8_t reserved[6];
};

_Static_assert(sizeof(struct file_head) == 56 && sizeof(struct file_entry) == 64, "no padding");

/* The same inode as ours would not do: those of other namespaces are used again. */
bool dpx_sightings_clock(void)
{
    struct stat namespace;
    if (stat("/proc/self/ns/time", &namespace) == 0)
        return namespace.st_ino == INITIAL_TIME_NAMESPACE;
    return errno == ENOENT && stat("/proc/self/ns/pid", &namespace) == 0; /* a kernel without them */
}

static bool ours(const struct stat *status, mode_t forbidden)
{
    return (status->st_uid == geteuid() || status->st_uid == 0) && (status->st_mode & forbidden) == 0;
}

/* The directory, or -errno. */
static int open_directory(const char *path, bool make)
{
    struct stat status;
    if (make && mkdir(path, 0700) != 0 && errno != EEXIST)
        return -errno;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory < 0)
        return -errno;
    if (fstat(directory, &status) == 0 && ours(&status, S_IWGRP | S_IWOTH))
        return directory;
    close(directory);
    return -EPERM;
}

static void name_file(const dpx_sightings_place *place, const char *suffix, char name[64])
{
    const uint8_t *b = place->geometry.uuid.bytes;
    size_t at = 0;
    for (size_t i = 0; i < sizeof place->geometry.uuid.bytes; i++)
        at += (size_t)snprintf(name + at, 64 - at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
    snprintf(name + at, 64 - at, "%s", suffix);
}

/* ---- the file as bytes ---- */

static size_t file_size(const dpx_geometry *geometry)
{
    return sizeof(struct file_head) + dpx_sightings_count(geometry) * sizeof(struct file_entry);
}

static struct file_head head_of(const dpx_sightings_place *place)
{
    struct file_head head = {.max_hosts = place->geometry.max_hosts, .disks = place->geometry.disks,
                             .lockspace = place->geometry.uuid, .boot = place->boot};
    memcpy(head.magic, MAGIC, sizeof head.magic);
    head.crc = dpx_crc32c(0, &head, sizeof head);
    return head;
}

static void encode_entry(uint8_t *at, const dpx_sighting *sighting)
{
    struct file_entry entry = {.checksum = sighting->checksum,
                               .from = sighting->from,
                               .generation = sighting->generation,
                               .sequence = sighting->sequence,
                               .nonce = sighting->nonce,
                               .disk = sighting->disk,
                               .slot = sighting->slot,
                               .sound = sighting->sound,
                               .state = (uint8_t)sighting->state};
    entry.crc = dpx_crc32c(0, &entry, sizeof entry);
    memcpy(at, &entry, sizeof entry);
}

static dpx_sighting decode_entry(const uint8_t *at, uint32_t disk, uint32_t slot)
{
    struct file_entry entry;
    dpx_sighting nothing = {.disk = disk, .slot = slot};
    memcpy(&entry, at, sizeof entry);
    uint32_t crc = entry.crc;
    entry.crc = 0;
    bool good = crc == dpx_crc32c(0, &entry, sizeof entry) && entry.disk == disk && entry.slot == slot;
    if (!good || entry.state > DPX_SLOT_ACTIVE)
        return nothing;
    return (dpx_sighting){.from = entry.from,
                          .disk = disk,
                          .slot = slot,
                          .sound = entry.sound == 1,
                          .state = (enum dpx_slot_state)entry.state,
                          .checksum = entry.checksum,
                          .generation = entry.generation,
                          .sequence = entry.sequence,
                          .nonce = entry.nonce};
}

/* ---- reading and writing ---- */

static bool read_all(int fd, uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t got = read(fd, data, bytes);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            return false;
        if (got > 0) {
            data += got;
            bytes -= (size_t)got;
        }
    }
    return true;
}

static int write_all(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t put = write(fd, data, bytes);
        if (put < 0 && errno != EINTR)
            return -errno;
        if (put > 0) {
            data += put;
            bytes -= (size_t)put;
        }
    }
    return 0;
}

/* Written by us or by root, for nobody else; of this lockspace, and of this boot. */
static bool read_file(const dpx_sightings_place *place, int directory, uint8_t *data)
{
    char name[64];
    struct stat status;
    const struct file_head expected = head_of(place);
    size_t bytes = file_size(&place->geometry);
    name_file(place, "", name);
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool good = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && ours(&status, S_IRWXG | S_IRWXO) &&
                status.st_nlink == 1 && (size_t)status.st_size == bytes && read_all(fd, data, bytes) &&
                memcmp(data, &expected, sizeof expected) == 0;
    close(fd);
    return good;
}

static void decode_all(const dpx_geometry *geometry, const uint8_t *data, dpx_sighting *sightings)
{
    data += sizeof(struct file_head);
    for (uint32_t disk = 0; disk < geometry->disks; disk++)
        for (uint32_t slot = 0; slot < geometry->max_hosts; slot++, data += sizeof(struct file_entry))
            sightings[dpx_sighting_index(geometry, disk, slot)] = decode_entry(data, disk, slot);
}

bool dpx_sightings_load(const dpx_sightings_place *place, dpx_sighting *sightings)
{
    uint8_t *data = malloc(file_size(&place->geometry));
    int directory = data ? open_directory(place->directory, false) : -ENOMEM;
    bool good = directory >= 0 && read_file(place, directory, data);
    if (good)
        decode_all(&place->geometry, data, sightings);
    if (directory >= 0)
        close(directory);
    free(data);
    return good;
}

/* One writer at a time; one that was stopped keeps the others from nothing but this. */
static bool lock_directory(int directory)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(directory, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return false;
        usleep(LOCK_PAUSE);
    }
    return false;
}

static void merge_all(const dpx_sightings_place *place, bool there, uint8_t *data, const dpx_sighting *fresh)
{
    const struct file_head head = head_of(place);
    uint8_t *at = data + sizeof head;
    for (uint32_t disk = 0; disk < place->geometry.disks; disk++) {
        for (uint32_t slot = 0; slot < place->geometry.max_hosts; slot++, at += sizeof(struct file_entry)) {
            dpx_sighting kept = {.disk = disk, .slot = slot};
            if (there)
                kept = decode_entry(at, disk, slot);
            dpx_sighting_merge(&kept, &fresh[dpx_sighting_index(&place->geometry, disk, slot)]);
            encode_entry(at, &kept);
        }
    }
    memcpy(data, &head, sizeof head);
}

/* What a killed writer left behind is in nobody's way. */
static int replace_file(const dpx_sightings_place *place, int directory, const uint8_t *data)
{
    char name[64], fresh[64];
    name_file(place, "", name);
    name_file(place, ".new", fresh);
    unlinkat(directory, fresh, 0);
    int fd = openat(directory, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int error = write_all(fd, data, file_size(&place->geometry));
    close(fd);
    if (error == 0 && renameat(directory, fresh, directory, name) != 0)
        error = -errno;
    if (error != 0)
        unlinkat(directory, fresh, 0);
    return error;
}

int dpx_sightings_save(const dpx_sightings_place *place, const dpx_sighting *sightings)
{
    uint8_t *data = malloc(file_size(&place->geometry));
    int directory = data ? open_directory(place->directory, true) : -ENOMEM;
    int error = directory < 0 ? directory : lock_directory(directory) ? 0 : -EAGAIN;
    if (error == 0) {
        merge_all(place, read_file(place, directory, data), data, sightings);
        error = replace_file(place, directory, data);
    }
    if (directory >= 0)
        close(directory); /* and with it goes the lock */
    free(data);
    return error;
}
