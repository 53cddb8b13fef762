/* ‡D11: the file that sightings are kept in: a real one, in the directory that is given (default: where this runs). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../native/host/sightings.h"
#include "check.h"
#include "memory_disks.h"

enum { HOSTS = 8, LEASES = 16, SLOT = 5 };

static const char *workplace = ".";

typedef struct filing {
    dpx_sightings_place place;
    char file[600];
    dpx_sighting mine[DPX_MAX_DISKS * HOSTS], got[DPX_MAX_DISKS * HOSTS];
    uint32_t count, at;
} filing;

static void open_filing(filing *f)
{
    memory_disks disks;
    disks_format(&disks, 3, HOSTS, LEASES);
    memset(f, 0, sizeof *f);
    f->place.geometry = disks.geometry;
    f->place.boot = (dpx_uuid){{1, 2, 3}};
    disks_free(&disks);
    snprintf(f->place.directory, sizeof f->place.directory, "%s/sightings.%d", workplace, (int)getpid());
    snprintf(f->file, sizeof f->file, "%s/07070707-0707-0707-0707-070707070707", f->place.directory);
    f->count = dpx_sightings_count(&f->place.geometry);
    for (uint32_t d = 0; d < 3; d++)
        for (uint32_t slot = 0; slot < HOSTS; slot++)
            f->mine[dpx_sighting_index(&f->place.geometry, d, slot)] = (dpx_sighting){
                .from = slot == 2 ? 0 : 100 + slot, .disk = d, .slot = slot, .sound = slot != 3,
                .state = DPX_SLOT_ACTIVE, .checksum = 77 + d, .generation = 9, .sequence = 5, .nonce = {{4}}};
    f->at = dpx_sighting_index(&f->place.geometry, 1, SLOT);
    CHECK_EQ(dpx_sightings_save(&f->place, f->mine), 0);
    CHECK(dpx_sightings_load(&f->place, f->got));
}

static void close_filing(filing *f)
{
    unlink(f->file);
    CHECK_EQ(rmdir(f->place.directory), 0); /* and nothing else is left there */
}

static void test_what_was_saved_is_loaded(void)
{
    filing f;
    struct stat status;
    open_filing(&f);
    for (uint32_t i = 0; i < f.count; i++) {
        const dpx_sighting *a = &f.mine[i], *b = &f.got[i];
        CHECK(a->from == b->from && a->disk == b->disk && a->slot == b->slot);
        CHECK(a->from == 0 || (a->sound == b->sound && a->state == b->state && a->checksum == b->checksum &&
              a->generation == b->generation && a->sequence == b->sequence && dpx_uuid_equal(&a->nonce, &b->nonce)));
    }
    CHECK_EQ(stat(f.file, &status), 0);
    CHECK_EQ(status.st_mode & 07777, 0600);
    CHECK_EQ(stat(f.place.directory, &status), 0);
    CHECK_EQ(status.st_mode & 07777, 0700);
    dpx_sighting earlier = f.mine[f.at];
    f.mine[f.at].from += 50; /* the same record, seen later: it was there before */
    CHECK_EQ(dpx_sightings_save(&f.place, f.mine), 0);
    CHECK(dpx_sightings_load(&f.place, f.got));
    CHECK_EQ(f.got[f.at].from, earlier.from);
    f.mine[f.at].sequence++;
    CHECK_EQ(dpx_sightings_save(&f.place, f.mine), 0);
    f.mine[f.at] = earlier; /* of a process that was slow to write */
    CHECK_EQ(dpx_sightings_save(&f.place, f.mine), 0);
    CHECK(dpx_sightings_load(&f.place, f.got));
    CHECK_EQ(f.got[f.at].sequence, earlier.sequence + 1);
    close_filing(&f);
}

/* Another boot, another lockspace, another shape: not ours.  And what we save replaces it. */
static void test_files_of_others_are_ignored(void)
{
    for (uint32_t what = 0; what < 3; what++) {
        filing f;
        open_filing(&f);
        dpx_sightings_place place = f.place;
        if (what == 0)
            place.boot.bytes[5] ^= 1;
        else if (what == 1)
            place.geometry.uuid.bytes[5] ^= 1;
        else
            place.geometry.max_hosts--;
        CHECK(!dpx_sightings_load(&place, f.got));
        if (what == 0) {
            f.mine[f.at].from += 50;
            CHECK_EQ(dpx_sightings_save(&place, f.mine), 0);
            CHECK(dpx_sightings_load(&place, f.got));
            CHECK_EQ(f.got[f.at].from, f.mine[f.at].from);
            CHECK(!dpx_sightings_load(&f.place, f.got));
        }
        close_filing(&f);
    }
}

static void flip(const char *path, off_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 1;
    CHECK_EQ(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* One flipped bit costs one sighting, or in the head all of them. */
static void test_damaged_entries_are_ignored(void)
{
    filing f;
    open_filing(&f);
    off_t entries = 56, size = 64;
    for (off_t at = 0; at < size; at++) {
        flip(f.file, entries + f.at * size + at);
        CHECK(dpx_sightings_load(&f.place, f.got));
        CHECK_EQ(f.got[f.at].from, 0);
        CHECK_EQ(f.got[f.at - 1].from, f.mine[f.at - 1].from);
        flip(f.file, entries + f.at * size + at);
    }
    for (off_t at = 0; at < entries; at++) {
        flip(f.file, at);
        CHECK(!dpx_sightings_load(&f.place, f.got));
        flip(f.file, at);
    }
    CHECK(dpx_sightings_load(&f.place, f.got));
    CHECK_EQ(truncate(f.file, entries + 3), 0);
    CHECK(!dpx_sightings_load(&f.place, f.got));
    close_filing(&f);
}

/* Who may have written it?  Only this user, or root. */
static void test_files_that_others_can_write_are_not_trusted(void)
{
    filing f;
    char other[700];
    open_filing(&f);
    snprintf(other, sizeof other, "%s.other", f.file);
    CHECK_EQ(chmod(f.file, 0620), 0);
    CHECK(!dpx_sightings_load(&f.place, f.got));
    CHECK_EQ(chmod(f.file, 0600), 0);
    CHECK_EQ(rename(f.file, other), 0);
    CHECK_EQ(symlink(other, f.file), 0);
    CHECK(!dpx_sightings_load(&f.place, f.got));
    CHECK_EQ(unlink(f.file), 0);
    CHECK_EQ(link(other, f.file), 0);
    CHECK(!dpx_sightings_load(&f.place, f.got));
    CHECK_EQ(unlink(f.file), 0);
    CHECK_EQ(mkfifo(f.file, 0600), 0);
    CHECK(!dpx_sightings_load(&f.place, f.got)); /* nor does it wait there */
    CHECK_EQ(unlink(f.file), 0);
    CHECK_EQ(rename(other, f.file), 0);
    CHECK_EQ(chmod(f.place.directory, 0730), 0);
    CHECK(!dpx_sightings_load(&f.place, f.got));
    CHECK(dpx_sightings_save(&f.place, f.mine) < 0);
    CHECK_EQ(chmod(f.place.directory, 0700), 0);
    if (geteuid() == 0) {
        CHECK_EQ(chown(f.file, 12345, 0), 0);
        CHECK(!dpx_sightings_load(&f.place, f.got));
        CHECK_EQ(chown(f.place.directory, 12345, 0), 0);
        CHECK(dpx_sightings_save(&f.place, f.mine) < 0);
    }
    close_filing(&f);
}

static void test_nowhere_to_write_is_no_error(void)
{
    filing f;
    open_filing(&f);
    dpx_sightings_place place = f.place;
    snprintf(place.directory, sizeof place.directory, "%s/missing/below", workplace);
    CHECK(dpx_sightings_save(&place, f.mine) < 0);
    CHECK(!dpx_sightings_load(&place, f.got));
    close_filing(&f);
}

int main(int count, char **arguments)
{
    if (count > 1)
        workplace = arguments[1];
    RUN(test_what_was_saved_is_loaded);
    RUN(test_files_of_others_are_ignored);
    RUN(test_damaged_entries_are_ignored);
    RUN(test_files_that_others_can_write_are_not_trusted);
    RUN(test_nowhere_to_write_is_no_error);
    return check_finish("test_sightings_file");
}
