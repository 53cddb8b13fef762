# Declarations of the format room that the binding uses.
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from *:
    ctypedef bint c_bool "_Bool"


cdef extern from "format/layout.h" nogil:
    const char *DPX_MAGIC
    const char *DPX_DIRECTORY_NAME
    const uint32_t DPX_FORMAT_VERSION
    const uint32_t DPX_MAX_DISKS
    const uint32_t DPX_MIN_HOSTS
    const uint32_t DPX_MAX_HOSTS
    const uint32_t DPX_MIN_LEASES
    const uint32_t DPX_MAX_LEASES
    const uint32_t DPX_LEASE_NAME_MAX
    const uint32_t DPX_SPACE_NAME_MAX
    const uint32_t DPX_HOST_NAME_MAX
    const uint32_t DPX_DIRECTORY_AREA
    const uint32_t DPX_BALLOT_SLOTS
    const uint64_t DPX_BALLOT_CEILING
    const uint32_t DPX_NOTICE_FENCED
    const uint32_t DPX_NOTICE_GENERATION

    ctypedef struct dpx_uuid:
        uint8_t bytes[16]

    enum dpx_mode:
        DPX_MODE_NONE
        DPX_MODE_SHARED
        DPX_MODE_EXCLUSIVE

    enum dpx_lease_state:
        DPX_LEASE_TOMBSTONE


cdef extern from "format/format.h" nogil:
    ctypedef struct dpx_geometry:
        dpx_uuid uuid
        uint32_t block_size
        uint32_t max_hosts
        uint32_t max_leases
        uint32_t disks
        uint32_t disk_generation[5]
        uint64_t outage_tolerance
        uint64_t kill_grace
        uint64_t watchdog_timeout
        uint64_t claim_time
        uint64_t features_compatible
        uint64_t features_incompatible
        uint64_t created_at
        char name[64]
        uint64_t slots_at
        uint64_t notices_at
        uint64_t groups_at
        uint64_t areas_at
        uint32_t notice_blocks
        uint32_t notice_entries
        uint32_t group_blocks
        uint32_t area_blocks
        uint64_t total_blocks

    ctypedef enum dpx_flaw:
        DPX_SOUND
        DPX_FLAW_FIELD

    ctypedef struct dpx_place:
        uint8_t kind
        uint32_t slot
        uint32_t part
        uint32_t area

    ctypedef struct dpx_field:
        uint8_t kind
        const char *name
        uint16_t offset
        uint16_t size
        uint16_t count
        char type

    ctypedef struct dpx_incarnation:
        uint32_t slot
        uint64_t generation
        dpx_uuid nonce

    ctypedef struct dpx_slot_record:
        dpx_incarnation who
        uint64_t sequence
        uint64_t counter

    ctypedef struct dpx_header:
        uint64_t directory_token
        uint64_t sequence
        uint64_t written_at
        uint32_t area
        dpx_lease_state state
        dpx_uuid lease
        uint64_t first_ballot
        uint64_t created_at
        uint8_t name_length
        char name[201]

    const dpx_field dpx_fields[]
    const size_t dpx_field_count

    c_bool dpx_geometry_derive(dpx_geometry *geometry)
    uint64_t dpx_slot_block(const dpx_geometry *geometry, uint32_t slot)
    uint64_t dpx_notice_block(const dpx_geometry *geometry, uint32_t slot, uint32_t part)
    uint64_t dpx_header_block(const dpx_geometry *geometry, uint32_t area)
    uint64_t dpx_own_block(const dpx_geometry *geometry, uint32_t area, uint32_t slot)
    uint64_t dpx_dead_time(uint64_t outage_tolerance, uint64_t kill_grace, uint64_t watchdog_timeout)
    uint32_t dpx_home_area(const dpx_geometry *geometry, const char *name, size_t length)
    c_bool dpx_name_valid(const char *name, size_t length, size_t limit)
    const char *dpx_flaw_text(dpx_flaw flaw)
    uint32_t dpx_crc32c(uint32_t crc, const void *data, size_t length)
    uint32_t dpx_crc32c_portable(uint32_t crc, const void *data, size_t length)
    dpx_flaw dpx_superblock_decode(const void *data, size_t length, dpx_geometry *geometry, uint32_t *disk,
                                   uint64_t *sequence)
    void dpx_superblock_encode(void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t sequence,
                               uint64_t written_at)
    void dpx_header_encode(void *data, const dpx_geometry *geometry, uint32_t disk, const dpx_header *header)
    dpx_place dpx_place_of(const dpx_geometry *geometry, uint64_t index)


cdef extern from "format/bulk.h" nogil:
    void dpx_bulk_empty(void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t first,
                        uint64_t count, uint64_t written_at)
    uint64_t dpx_bulk_check(const void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t first,
                            uint64_t count, uint8_t *flaws)
    void dpx_bulk_seal(void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t count)
