# Part of core.pyx: failures, and an opened lockspace.

cdef dict STATUS_NAMES = {
    <int>DPX_OK: "ok",
    <int>DPX_E_SYSTEM: "system",
    <int>DPX_E_NOT_LOCKSPACE: "not_lockspace",
    <int>DPX_E_VERSION: "version",
    <int>DPX_E_FEATURE: "feature",
    <int>DPX_E_SUPERBLOCK: "superblock",
    <int>DPX_E_TRUNCATED: "truncated",
    <int>DPX_E_BLOCK_SIZE: "block_size",
    <int>DPX_E_NO_DIRECT_IO: "no_direct_io",
    <int>DPX_E_OTHER_LOCKSPACE: "other_lockspace",
    <int>DPX_E_SAME_DISK: "same_disk",
    <int>DPX_E_DISK_COUNT: "disk_count",
    <int>DPX_E_OUTDATED_DISK: "outdated_disk",
    <int>DPX_E_NO_MAJORITY: "no_majority",
    <int>DPX_E_READ_ONLY: "read_only",
    <int>DPX_E_NO_SLOT: "no_slot",
    <int>DPX_E_COLLIDED: "collided",
    <int>DPX_E_NOT_DRAINED: "not_drained",
    <int>DPX_E_TIMING: "timing",
    <int>DPX_E_HELD: "held",
    <int>DPX_E_HELD_HERE: "held_here",
    <int>DPX_E_STALE: "stale",
    <int>DPX_E_NOT_FOUND: "not_found",
    <int>DPX_E_EXISTS: "exists",
    <int>DPX_E_FULL: "full",
    <int>DPX_E_UNDRAINED: "undrained",
    <int>DPX_E_DAMAGED: "damaged",
    <int>DPX_E_STORAGE: "storage",
    <int>DPX_E_LOST: "lost",
    <int>DPX_E_FINISHED: "finished",
    <int>DPX_E_CEILING: "ceiling",
    <int>DPX_E_TIMEOUT: "timeout",
    <int>DPX_E_INVALID: "invalid",
    <int>DPX_E_FORKED: "forked",
    <int>DPX_E_BUSY: "busy",
}
STATUSES = tuple(STATUS_NAMES[number] for number in sorted(STATUS_NAMES))


def now():
    return dpx_now()


cdef str text_of(const char *text):
    return (<bytes>text).decode("utf-8", "replace")


def bare_io(int fd, data, uint64_t write_at, room, uint64_t read_at):
    cdef View source = View(data, False)
    cdef View target = View(room, True)
    cdef ssize_t written = 0
    cdef ssize_t got = 0
    cdef uint64_t begun, ended
    with nogil:
        begun = dpx_now()
        if source.view.len > 0:
            written = pwrite(fd, source.view.buf, source.view.len, <off_t>write_at)
        if written == source.view.len and target.view.len > 0:
            got = pread(fd, target.view.buf, target.view.len, <off_t>read_at)
        ended = dpx_now()
    if written < 0 or got < 0:
        PyErr_SetFromErrno(OSError)
    if written != source.view.len or got != target.view.len:
        raise OSError(EIO, "a short transfer")
    return ended - begun


class CoreError(Exception):
    pass


cdef object core_error(dpx_status status, const dpx_failure *failure):
    """The exception for a failed call."""
    error = CoreError(text_of(dpx_status_text(status)))
    error.status = STATUS_NAMES.get(<int>status, "invalid")
    error.text = text_of(dpx_status_text(status))
    error.errno = abs(failure.error)
    error.item = failure.item
    error.disk = -1 if failure.disk >= DPX_MAX_DISKS else <int>failure.disk
    error.block = failure.block
    error.value = failure.value
    error.flaw = flaw_text(failure.flaw)
    error.end = failure.end
    error.slot = failure.flag.who.slot
    error.generation = failure.flag.who.generation
    error.hold = failure.flag.hold
    error.mode = <int>failure.flag.mode
    error.held_since = failure.flag.held_since
    label = <bytes>failure.flag.label[:min(<int>failure.flag.label_length, 64)]
    error.label = label.decode("utf-8", "replace")
    error.lowering = bool(failure.lowering)
    error.alive = bool(failure.alive)
    error.dead = bool(failure.dead)
    error.silent_for = failure.silent_for
    error.watched = bool(failure.watched)
    error.free_in = failure.free_in
    error.claim_time = failure.claim_time
    error.took = (failure.took[0], failure.took[1], failure.took[2])
    error.host_name = text_of(failure.host_name)
    error.path = (<bytes>failure.path).decode("utf-8", "surrogateescape")
    return error


cdef object closed_error(str text):
    """Another thread closed it in between (or it was used after a fork, past the checks in Python)."""
    cdef dpx_failure failure
    memset(&failure, 0, sizeof(failure))
    error = core_error(DPX_E_INVALID, &failure)
    error.status, error.text = "closed", text
    return error


DiskState = namedtuple("DiskState", "path disk online trouble errno network block_device oldest")


cdef class Space:
    # `users` counts calls under way (guarded by the GIL): whoever is last out closes.
    cdef dpx_space *space
    cdef int users
    cdef bint closing
    cdef int pid
    cdef readonly Geometry geometry

    def __cinit__(self, paths, bint read_only, uint64_t timeout):
        cdef dpx_failure failure
        cdef dpx_status status
        cdef const char *listed[5]
        cdef uint32_t count
        self.pid = getpid()
        encoded = [bytes(path) for path in paths]
        if not 1 <= len(encoded) <= 5:
            raise ValueError("1 to 5 paths")
        count = len(encoded)
        for i in range(count):
            listed[i] = PyBytes_AsString(encoded[i])
        memset(&failure, 0, sizeof(failure))
        with nogil:
            status = dpx_space_open(listed, count, read_only, timeout, &self.space, &failure)
        if status != DPX_OK:
            self.space = NULL
            raise core_error(status, &failure)
        self.geometry = Geometry.wrap(dpx_space_geometry(self.space))

    def __dealloc__(self):
        # In a forked child the threads are not there to be ended.
        if self.space is not NULL and getpid() == self.pid:
            dpx_space_close(self.space)

    cdef int enter(self) except -1:
        if self.space is NULL or self.closing or getpid() != self.pid:
            raise closed_error("the lockspace is closed, or was opened before a fork")
        self.users += 1
        return 0

    cdef void exit(self) noexcept:
        cdef dpx_space *space = self.space
        self.users -= 1
        if self.users == 0 and self.closing and space is not NULL:
            self.space = NULL
            with nogil:
                dpx_space_close(space)

    def disks(self):
        cdef dpx_space_disk found[5]
        cdef uint32_t count
        self.enter()
        try:
            with nogil:
                count = dpx_space_disks(self.space, found, 5)
        finally:
            self.exit()
        return [
            DiskState(
                (<bytes>found[i].path).decode("utf-8", "surrogateescape"),
                found[i].index if found[i].assigned else -1, bool(found[i].online),
                "" if found[i].online else STATUS_NAMES.get(<int>found[i].trouble, ""), found[i].error,
                bool(found[i].network), bool(found[i].block_device), found[i].oldest,
            )
            for i in range(min(count, 5))
        ]

    cdef transfer(self, uint32_t disk, uint64_t block, data, uint64_t timeout, bint writing):
        cdef View view = View(data, not writing)
        cdef uint32_t count
        cdef dpx_failure failure
        cdef dpx_status status
        memset(&failure, 0, sizeof(failure))
        if <uintptr_t>view.view.buf % 4096:
            raise ValueError("the buffer must be aligned to 4096 bytes")
        count = view.blocks(self.geometry.shape.block_size)
        self.geometry.disk_fits(disk)
        self.enter()
        try:
            with nogil:
                if writing:
                    status = dpx_space_write(self.space, disk, block, count, view.view.buf, timeout, &failure)
                else:
                    status = dpx_space_read(self.space, disk, block, count, view.view.buf, timeout, &failure)
        finally:
            self.exit()
        if status != DPX_OK:
            raise core_error(status, &failure)

    def read(self, uint32_t disk, uint64_t block, buffer, uint64_t timeout):
        self.transfer(disk, block, buffer, timeout, False)

    def write(self, uint32_t disk, uint64_t block, buffer, uint64_t timeout):
        self.transfer(disk, block, buffer, timeout, True)

    def close(self):
        if self.space is not NULL and not self.closing and getpid() == self.pid:
            self.users += 1
            self.closing = True
            self.exit()
