# Part of core.pyx: the format room.

MAGIC = <bytes>DPX_MAGIC
FORMAT_VERSION = <int>DPX_FORMAT_VERSION
MAX_DISKS = <int>DPX_MAX_DISKS
MIN_HOSTS = <int>DPX_MIN_HOSTS
MAX_HOSTS = <int>DPX_MAX_HOSTS
MIN_LEASES = <int>DPX_MIN_LEASES
MAX_LEASES = <int>DPX_MAX_LEASES
LEASE_NAME_MAX = <int>DPX_LEASE_NAME_MAX
SPACE_NAME_MAX = <int>DPX_SPACE_NAME_MAX
HOST_NAME_MAX = <int>DPX_HOST_NAME_MAX
LABEL_MAX = 64
BALLOT_SLOTS = <int>DPX_BALLOT_SLOTS
BALLOT_CEILING = <object>DPX_BALLOT_CEILING
DIRECTORY_AREA = <int>DPX_DIRECTORY_AREA
DIRECTORY_NAME = <bytes>DPX_DIRECTORY_NAME
NOTICE_FENCED = <object>DPX_NOTICE_FENCED
NOTICE_GENERATION = <object>DPX_NOTICE_GENERATION
MODE_NONE = <int>DPX_MODE_NONE
MODE_SHARED = <int>DPX_MODE_SHARED
MODE_EXCLUSIVE = <int>DPX_MODE_EXCLUSIVE

cdef str flaw_text(int flaw):
    return (<bytes>dpx_flaw_text(<dpx_flaw>flaw)).decode("ascii")


FLAWS = tuple(flaw_text(flaw) for flaw in range(<int>DPX_FLAW_FIELD + 1))

Field = namedtuple("Field", "kind name offset size elements type")


def fields():
    cdef size_t i
    rows = []
    for i in range(dpx_field_count):
        name = (<bytes>dpx_fields[i].name).decode("ascii")
        rows.append(Field(dpx_fields[i].kind, name, dpx_fields[i].offset, dpx_fields[i].size,
                          dpx_fields[i].count, chr(dpx_fields[i].type)))
    return tuple(rows)


cdef class View:
    """A buffer held for the length of a call."""
    cdef Py_buffer view

    def __cinit__(self, data, bint writable):
        PyObject_GetBuffer(data, &self.view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)

    def __dealloc__(self):
        PyBuffer_Release(&self.view)

    cdef size_t blocks(self, uint32_t block_size) except? 0:
        if self.view.len == 0 or self.view.len % block_size:
            raise ValueError(f"a buffer of {self.view.len} bytes does not hold whole blocks of {block_size}")
        return self.view.len // block_size


def crc32c(data, uint32_t crc=0):
    cdef View view = View(data, False)
    with nogil:
        crc = dpx_crc32c(crc, view.view.buf, view.view.len)
    return crc


def crc32c_portable(data, uint32_t crc=0):
    cdef View view = View(data, False)
    with nogil:
        crc = dpx_crc32c_portable(crc, view.view.buf, view.view.len)
    return crc


def name_valid(bytes name, size_t limit):
    return bool(dpx_name_valid(name, len(name), limit))


def plain_ask(name, mode):
    cdef Py_ssize_t length
    cdef const char *text
    if type(name) is not str or type(mode) is not str:
        return None
    if mode == "exclusive":
        number = <int>DPX_MODE_EXCLUSIVE
    elif mode == "shared":
        number = <int>DPX_MODE_SHARED
    else:
        return None
    try:
        text = PyUnicode_AsUTF8AndSize(name, &length)
    except UnicodeEncodeError:
        return None
    if not dpx_name_valid(text, length, DPX_LEASE_NAME_MAX):
        return None
    encoded = text[:length]
    return None if encoded == DIRECTORY_NAME else (encoded, number, None, b"")


def dead_time(uint64_t outage_tolerance, uint64_t kill_grace, uint64_t watchdog_timeout):
    return dpx_dead_time(outage_tolerance, kill_grace, watchdog_timeout)


cdef bytes uuid_bytes(const dpx_uuid *uuid):
    return PyBytes_FromStringAndSize(<const char *>uuid.bytes, 16)


cdef int uuid_fill(dpx_uuid *uuid, bytes data) except -1:
    if len(data) != 16:
        raise ValueError("a UUID has 16 bytes")
    memcpy(uuid.bytes, PyBytes_AsString(data), 16)
    return 0


cdef int text_fill(char *target, Py_ssize_t capacity, bytes text) except -1:
    """Copies a text and terminates it; target has room for capacity + 1 bytes."""
    if len(text) > capacity or b"\0" in text:
        raise ValueError(f"text does not fit into {capacity} bytes: {text!r}")
    memset(target, 0, capacity + 1)
    memcpy(target, PyBytes_AsString(text), len(text))
    return 0


cdef class Geometry:
    cdef dpx_geometry shape

    def __init__(self, *, bytes uuid, bytes name, uint32_t block_size, uint32_t max_hosts,
                 uint32_t max_leases, uint32_t disks, disk_generations, uint64_t outage_tolerance,
                 uint64_t kill_grace, uint64_t watchdog_timeout, uint64_t claim_time, uint64_t created_at,
                 uint64_t features_compatible=0, uint64_t features_incompatible=0):
        generations = list(disk_generations)
        if disks > DPX_MAX_DISKS or len(generations) != disks:
            raise ValueError("one generation per disk")
        memset(&self.shape, 0, sizeof(self.shape))
        uuid_fill(&self.shape.uuid, uuid)
        text_fill(self.shape.name, DPX_SPACE_NAME_MAX, name)
        self.shape.block_size = block_size
        self.shape.max_hosts = max_hosts
        self.shape.max_leases = max_leases
        self.shape.disks = disks
        for i in range(disks):
            self.shape.disk_generation[i] = generations[i]
        self.shape.outage_tolerance = outage_tolerance
        self.shape.kill_grace = kill_grace
        self.shape.watchdog_timeout = watchdog_timeout
        self.shape.claim_time = claim_time
        self.shape.created_at = created_at
        self.shape.features_compatible = features_compatible
        self.shape.features_incompatible = features_incompatible
        if not dpx_geometry_derive(&self.shape):
            raise ValueError("a value is out of its range")

    @staticmethod
    cdef Geometry wrap(const dpx_geometry *shape):
        cdef Geometry geometry = Geometry.__new__(Geometry)
        geometry.shape = shape[0]
        return geometry

    @property
    def uuid(self):
        return uuid_bytes(&self.shape.uuid)

    @property
    def name(self):
        return <bytes>self.shape.name

    @property
    def block_size(self):
        return self.shape.block_size

    @property
    def max_hosts(self):
        return self.shape.max_hosts

    @property
    def max_leases(self):
        return self.shape.max_leases

    @property
    def disks(self):
        return self.shape.disks

    @property
    def disk_generations(self):
        return tuple([self.shape.disk_generation[i] for i in range(self.shape.disks)])

    @property
    def outage_tolerance(self):
        return self.shape.outage_tolerance

    @property
    def kill_grace(self):
        return self.shape.kill_grace

    @property
    def watchdog_timeout(self):
        return self.shape.watchdog_timeout

    @property
    def claim_time(self):
        return self.shape.claim_time

    @property
    def features_compatible(self):
        return self.shape.features_compatible

    @property
    def features_incompatible(self):
        return self.shape.features_incompatible

    @property
    def created_at(self):
        return self.shape.created_at

    @property
    def slots_at(self):
        return self.shape.slots_at

    @property
    def notices_at(self):
        return self.shape.notices_at

    @property
    def groups_at(self):
        return self.shape.groups_at

    @property
    def group_blocks(self):
        return self.shape.group_blocks

    @property
    def areas_at(self):
        return self.shape.areas_at

    @property
    def notice_blocks(self):
        return self.shape.notice_blocks

    @property
    def notice_entries(self):
        return self.shape.notice_entries

    @property
    def area_blocks(self):
        return self.shape.area_blocks

    @property
    def total_blocks(self):
        return self.shape.total_blocks

    @property
    def dead_time(self):
        return dpx_dead_time(self.shape.outage_tolerance, self.shape.kill_grace, self.shape.watchdog_timeout)

    # The C functions assert their ranges: a wrong number must end in an exception instead.

    cdef int slot_fits(self, uint32_t slot) except -1:
        if slot >= self.shape.max_hosts:
            raise IndexError(f"slot {slot} of {self.shape.max_hosts}")
        return 0

    cdef int area_fits(self, uint32_t area) except -1:
        if area >= self.shape.max_leases:
            raise IndexError(f"area {area} of {self.shape.max_leases}")
        return 0

    cdef int disk_fits(self, uint32_t disk) except -1:
        if disk >= self.shape.disks:
            raise IndexError(f"disk {disk} of {self.shape.disks}")
        return 0

    def slot_block(self, uint32_t slot):
        self.slot_fits(slot)
        return dpx_slot_block(&self.shape, slot)

    def notice_block(self, uint32_t slot, uint32_t part):
        self.slot_fits(slot)
        if part >= self.shape.notice_blocks:
            raise IndexError(f"part {part} of {self.shape.notice_blocks}")
        return dpx_notice_block(&self.shape, slot, part)

    def header_block(self, uint32_t area):
        self.area_fits(area)
        return dpx_header_block(&self.shape, area)

    def own_block(self, uint32_t area, uint32_t slot):
        self.area_fits(area)
        self.slot_fits(slot)
        return dpx_own_block(&self.shape, area, slot)

    def place(self, uint64_t index):
        cdef dpx_place place = dpx_place_of(&self.shape, index)
        return place.kind, place.slot, place.part, place.area

    def home_area(self, bytes name):
        return dpx_home_area(&self.shape, name, len(name))

    def encode_superblock(self, uint32_t disk, uint64_t sequence, uint64_t written_at):
        self.disk_fits(disk)
        block = PyBytes_FromStringAndSize(NULL, self.shape.block_size)
        dpx_superblock_encode(PyBytes_AsString(block), &self.shape, disk, sequence, written_at)
        return block

    def encode_header(self, uint32_t disk, uint32_t area, *, uint64_t directory_token, uint64_t sequence,
                      uint64_t written_at, int state, bytes lease, uint64_t first_ballot, uint64_t created_at,
                      bytes name):
        cdef dpx_header header
        self.disk_fits(disk)
        self.area_fits(area)
        if not 0 <= state <= <int>DPX_LEASE_TOMBSTONE:
            raise ValueError(f"no such state of a lease: {state}")
        memset(&header, 0, sizeof(header))
        header.directory_token = directory_token
        header.sequence = sequence
        header.written_at = written_at
        header.area = area
        header.state = <dpx_lease_state>state
        uuid_fill(&header.lease, lease)
        header.first_ballot = first_ballot
        header.created_at = created_at
        text_fill(header.name, DPX_LEASE_NAME_MAX, name)
        header.name_length = len(name)
        block = PyBytes_FromStringAndSize(NULL, self.shape.block_size)
        dpx_header_encode(PyBytes_AsString(block), &self.shape, disk, &header)
        return block

    def encode_empty(self, buffer, uint32_t disk, uint64_t first, uint64_t written_at):
        cdef View view = View(buffer, True)
        cdef uint64_t count = view.blocks(self.shape.block_size)
        self.disk_fits(disk)
        with nogil:
            dpx_bulk_empty(view.view.buf, &self.shape, disk, first, count, written_at)

    def check(self, buffer, uint32_t disk, uint64_t first):
        cdef View view = View(buffer, False)
        cdef uint64_t count = view.blocks(self.shape.block_size)
        self.disk_fits(disk)
        flaws = PyBytes_FromStringAndSize(NULL, count)
        cdef uint8_t *out = <uint8_t *>PyBytes_AsString(flaws)
        with nogil:
            dpx_bulk_check(view.view.buf, &self.shape, disk, first, count, out)
        return flaws

    def seal(self, buffer, uint32_t disk):
        cdef View view = View(buffer, True)
        cdef uint64_t count = view.blocks(self.shape.block_size)
        self.disk_fits(disk)
        with nogil:
            dpx_bulk_seal(view.view.buf, &self.shape, disk, count)


def superblock_decode(data):
    cdef View view = View(data, False)
    cdef dpx_geometry shape
    cdef uint32_t disk = 0
    cdef uint64_t sequence = 0
    if view.view.len < 512:
        raise ValueError("a superblock takes at least 512 bytes")
    memset(&shape, 0, sizeof(shape))
    flaw = dpx_superblock_decode(view.view.buf, view.view.len, &shape, &disk, &sequence)
    if flaw != DPX_SOUND:
        return flaw_text(flaw), None, 0, 0
    return "", Geometry.wrap(&shape), disk, sequence
