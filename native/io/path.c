/* Opening a path and finding out what it leads to.  Runs in the opener: any call here may hang. */
#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* What is neither a regular file nor a block device is not even opened: opening some
 * devices does things (a watchdog starts), and opening a FIFO waits. */
static int suitable(mode_t mode)
{
    if (S_ISDIR(mode))
        return -EISDIR;
    return S_ISREG(mode) || S_ISBLK(mode) ? 0 : -ENODEV;
}

/* What O_DIRECT demands of offsets in a regular file.  0 or -errno. */
static int file_alignment(int fd, uint32_t *alignment)
{
#ifdef STATX_DIOALIGN
    struct statx facts;
    memset(&facts, 0, sizeof facts);
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &facts) == 0 && (facts.stx_mask & STATX_DIOALIGN)) {
        *alignment = facts.stx_dio_offset_align;
        return *alignment ? 0 : -EINVAL; /* 0: not supported on this file */
    }
#endif
    /* Older kernels and network file systems do not tell: try. */
    void *probe = dpx_buffer_new(4096);
    if (!probe)
        return -ENOMEM;
    int error = 0;
    *alignment = 512;
    if (pread(fd, probe, 512, 0) < 0 && errno == EINVAL) {
        *alignment = 4096;
        if (pread(fd, probe, 4096, 0) < 0 && errno == EINVAL)
            error = -EINVAL;
    }
    dpx_buffer_free(probe, 4096);
    return error;
}

/* Whether the exit of a process waits for its plain direct I/O: file systems of this machine that are
 * known to sleep for it uninterruptibly.  Of all others nothing is assumed.  Block devices would wait,
 * too, but a plain O_DSYNC write to one flushes its cache twice. */
static bool plain_drains(uint64_t magic)
{
    return magic == EXT4_SUPER_MAGIC || magic == XFS_SUPER_MAGIC;
}

static void identify(const struct stat *status, dpx_disk_facts *facts)
{
    bool block = S_ISBLK(status->st_mode);
    facts->device = block ? status->st_rdev : status->st_dev;
    facts->inode = block ? 0 : status->st_ino;
}

static int gather(int fd, dpx_disk_facts *facts)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -errno;
    int error = suitable(status.st_mode);
    if (error != 0)
        return error;
    *facts = (dpx_disk_facts){.block_device = S_ISBLK(status.st_mode)};
    identify(&status, facts);
    if (facts->block_device) {
        int sector = 0;
        if (ioctl(fd, BLKGETSIZE64, &facts->bytes) != 0 || ioctl(fd, BLKSSZGET, &sector) != 0)
            return -errno;
        facts->logical_block = (uint32_t)sector;
        return 0;
    }
    facts->bytes = (uint64_t)status.st_size;
    struct statfs system;
    if (fstatfs(fd, &system) == 0) {
        facts->network = system.f_type == NFS_SUPER_MAGIC;
        facts->plain_drains = plain_drains((uint64_t)system.f_type);
    }
    error = file_alignment(fd, &facts->logical_block);
    if (facts->logical_block < 512)
        facts->logical_block = 512;
    return error;
}

int dpx_path_leads(const char *path, dpx_disk_facts *facts)
{
    struct stat status;
    *facts = (dpx_disk_facts){0};
    if (stat(path, &status) != 0)
        return -errno;
    identify(&status, facts);
    return suitable(status.st_mode);
}

/* In a process that was started without standard output, a disk must not become it. */
static int keep_off_standard(int *fd)
{
    if (*fd > STDERR_FILENO)
        return 0;
    int higher = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int error = higher < 0 ? -errno : 0;
    close(*fd);
    *fd = higher;
    return error;
}

int dpx_path_open(const char *path, bool read_only, int *fd, dpx_disk_facts *facts)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return -errno;
    int error = suitable(status.st_mode);
    if (error != 0)
        return error;
    int flags = (read_only ? O_RDONLY : O_RDWR) | O_DIRECT | O_DSYNC | O_CLOEXEC | O_NOCTTY;
    *fd = open(path, flags);
    if (*fd < 0)
        return -errno;
    error = keep_off_standard(fd);
    if (error != 0)
        return error;
    error = gather(*fd, facts);
    if (error != 0)
        close(*fd);
    return error;
}
