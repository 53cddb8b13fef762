# Declarations of the io and host rooms that the binding uses.
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from dpx_format cimport c_bool, dpx_flaw, dpx_geometry, dpx_incarnation, dpx_mode, dpx_slot_record, dpx_uuid


cdef extern from "io/disk.h" nogil:
    uint64_t dpx_now()


cdef extern from "protocol/world.h" nogil:
    ctypedef struct dpx_flag:
        dpx_incarnation who
        uint64_t hold
        dpx_mode mode
        uint64_t held_since
        uint8_t label_length
        char label[65]


cdef extern from "protocol/heart.h" nogil:
    ctypedef enum dpx_end:
        DPX_ALIVE
        DPX_END_LEFT

    const char *dpx_end_text(dpx_end end)

    ctypedef struct dpx_heart_numbers:
        uint64_t beats
        uint64_t missed
        uint64_t last_issue
        uint64_t last_duration
        uint64_t worst_duration
        uint32_t notices
        uint64_t counter


cdef extern from "protocol/claim.h" nogil:
    const uint32_t DPX_ANY_SLOT


cdef extern from "host/failure.h" nogil:
    ctypedef enum dpx_status:
        DPX_OK
        DPX_E_SYSTEM
        DPX_E_NOT_LOCKSPACE
        DPX_E_VERSION
        DPX_E_FEATURE
        DPX_E_SUPERBLOCK
        DPX_E_TRUNCATED
        DPX_E_BLOCK_SIZE
        DPX_E_NO_DIRECT_IO
        DPX_E_OTHER_LOCKSPACE
        DPX_E_SAME_DISK
        DPX_E_DISK_COUNT
        DPX_E_OUTDATED_DISK
        DPX_E_NO_MAJORITY
        DPX_E_READ_ONLY
        DPX_E_NO_SLOT
        DPX_E_COLLIDED
        DPX_E_NOT_DRAINED
        DPX_E_TIMING
        DPX_E_HELD
        DPX_E_HELD_HERE
        DPX_E_STALE
        DPX_E_NOT_FOUND
        DPX_E_EXISTS
        DPX_E_FULL
        DPX_E_UNDRAINED
        DPX_E_DAMAGED
        DPX_E_STORAGE
        DPX_E_LOST
        DPX_E_FINISHED
        DPX_E_CEILING
        DPX_E_TIMEOUT
        DPX_E_INVALID
        DPX_E_FORKED
        DPX_E_BUSY

    ctypedef struct dpx_failure:
        dpx_status status
        int error
        uint32_t item
        uint32_t disk
        uint64_t block
        uint64_t value
        dpx_flaw flaw
        int end
        dpx_flag flag
        c_bool alive
        c_bool dead
        c_bool watched
        uint64_t silent_for
        uint64_t free_in
        uint64_t claim_time
        uint64_t took[3]
        c_bool lowering
        char host_name[64]
        char path[512]

    const char *dpx_status_text(dpx_status status)


cdef extern from "host/space.h" nogil:
    ctypedef struct dpx_space:
        pass

    ctypedef struct dpx_space_disk:
        char path[512]
        c_bool assigned
        uint32_t index
        c_bool online
        dpx_status trouble
        int error
        c_bool network
        c_bool block_device
        uint64_t oldest

    dpx_status dpx_space_open(const char *const *paths, uint32_t count, c_bool read_only, uint64_t timeout,
                              dpx_space **out, dpx_failure *failure)
    void dpx_space_close(dpx_space *space)
    const dpx_geometry *dpx_space_geometry(const dpx_space *space)
    uint32_t dpx_space_disks(const dpx_space *space, dpx_space_disk *disks, uint32_t capacity)
    dpx_status dpx_space_read(dpx_space *space, uint32_t disk, uint64_t block, uint32_t count, void *data,
                              uint64_t timeout, dpx_failure *failure)
    dpx_status dpx_space_write(dpx_space *space, uint32_t disk, uint64_t block, uint32_t count,
                               const void *data, uint64_t timeout, dpx_failure *failure)


cdef extern from "host/host.h" nogil:
    ctypedef struct dpx_host:
        pass

    ctypedef c_bool (*dpx_impatient)(void *context) noexcept

    ctypedef struct dpx_join_options:
        char host_name[64]
        uint32_t slot
        c_bool retire
        c_bool realtime
        dpx_uuid machine
        dpx_uuid boot
        uint32_t software
        dpx_impatient impatient
        void *context
        char runtime_directory[512]

    const uint64_t DPX_FOREVER

    ctypedef struct dpx_ask:
        const char *name
        size_t name_length
        dpx_mode mode
        c_bool resume
        dpx_uuid resume_lease
        uint64_t resume_token
        const char *label
        size_t label_length
        uint64_t handle
        uint64_t token
        dpx_uuid lease

    ctypedef enum dpx_hold_state:
        DPX_HOLD_HELD
        DPX_HOLD_LOST
        DPX_HOLD_UNKNOWN

    ctypedef struct dpx_hold_info:
        uint64_t handle
        dpx_hold_state state
        dpx_uuid lease
        uint64_t token
        dpx_mode mode
        uint8_t name_length
        char name[201]

    ctypedef struct dpx_host_status:
        dpx_end end
        dpx_incarnation who
        uint64_t lifetime_end
        uint64_t remaining
        c_bool realtime
        int harden_error
        uint32_t lowering
        dpx_heart_numbers heart

    ctypedef enum dpx_event_kind:
        DPX_EVENT_NONE
        DPX_EVENT_LOST
        DPX_EVENT_FINISHED
        DPX_EVENT_HEALED
        DPX_EVENT_DISK_DOWN
        DPX_EVENT_DISK_UP
        DPX_EVENT_DAMAGED
        DPX_EVENT_RECLAIMED

    ctypedef struct dpx_event:
        dpx_event_kind kind
        uint64_t handle
        dpx_end end
        uint32_t disk
        uint32_t slot
        int error
        uint64_t block
        char name[201]

    ctypedef struct dpx_peer_info:
        dpx_slot_record record
        c_bool self_ "self"
        c_bool free
        c_bool damaged
        c_bool dead
        int drain
        c_bool moved
        uint64_t silent_for
        uint64_t until_silent

    dpx_status dpx_host_join(dpx_space *space, const dpx_join_options *options, uint64_t timeout,
                             dpx_host **out, dpx_failure *failure)
    dpx_status dpx_host_leave(dpx_host *host, uint64_t timeout, dpx_failure *failure)
    void dpx_host_destroy(dpx_host *host)
    dpx_status dpx_host_acquire(dpx_host *host, dpx_ask *asks, uint32_t count, c_bool create,
                                uint64_t timeout, dpx_failure *failure)
    dpx_status dpx_host_release(dpx_host *host, const uint64_t *handles, uint32_t count, uint64_t timeout,
                                dpx_failure *failure)
    dpx_status dpx_host_create(dpx_host *host, const char *name, size_t name_length, uint64_t timeout,
                               dpx_failure *failure)
    dpx_status dpx_host_delete(dpx_host *host, const char *name, size_t name_length, uint64_t timeout,
                               dpx_failure *failure)
    dpx_hold_info dpx_host_hold(dpx_host *host, uint64_t handle)
    dpx_hold_state dpx_host_hold_state(dpx_host *host, uint64_t handle)
    uint32_t dpx_host_holds(dpx_host *host, dpx_hold_info *holds, uint32_t capacity)
    dpx_host_status dpx_host_state(dpx_host *host)
    int dpx_host_event_fd(const dpx_host *host)
    c_bool dpx_host_next_event(dpx_host *host, dpx_event *event)
    dpx_status dpx_host_retire(dpx_host *host, uint32_t slot, uint64_t timeout, dpx_failure *failure)
    dpx_status dpx_host_ask(dpx_host *host, uint32_t slot, uint32_t area, dpx_failure *failure)
    dpx_status dpx_host_rewrite(dpx_host *host, uint32_t area, uint64_t timeout, dpx_failure *failure)
    dpx_status dpx_host_resolve(dpx_host *host, uint32_t area, uint64_t timeout, dpx_failure *failure)
    uint32_t dpx_host_peers(dpx_host *host, dpx_peer_info *peers, uint32_t capacity)
