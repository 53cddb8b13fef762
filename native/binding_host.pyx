# Part of core.pyx: a joined host.

HELD = <int>DPX_HOLD_HELD
LOST = <int>DPX_HOLD_LOST
UNKNOWN = <int>DPX_HOLD_UNKNOWN
END_LEFT = <int>DPX_END_LEFT

DRAINS = ("", "fenced", "rebooted", "exited")

cdef dict EVENT_NAMES = {
    <int>DPX_EVENT_LOST: "lost",
    <int>DPX_EVENT_FINISHED: "finished",
    <int>DPX_EVENT_HEALED: "healed",
    <int>DPX_EVENT_DISK_DOWN: "disk_down",
    <int>DPX_EVENT_DISK_UP: "disk_up",
    <int>DPX_EVENT_DAMAGED: "damaged",
    <int>DPX_EVENT_RECLAIMED: "reclaimed",
}

HoldInfo = namedtuple("HoldInfo", "handle state lease token mode name")
HostState = namedtuple(
    "HostState",
    "end slot generation nonce lifetime_end remaining realtime harden_error lowering beats missed last_issue "
    "last_duration worst_duration notices counter",
)
CoreEvent = namedtuple("CoreEvent", "kind handle end disk slot errno block name")
PeerInfo = namedtuple(
    "PeerInfo", "slot generation counter self free damaged dead drain moved silent_for until_silent"
)


def end_text(int end):
    return text_of(dpx_end_text(<dpx_end>end))


cdef uint64_t limit_of(timeout) except? 1:
    return DPX_FOREVER if timeout is None else timeout


cdef c_bool impatient(void *context) noexcept with gil:
    """Run pending signal handlers; true when one raised, or when the host is being closed."""
    cdef Host host = <Host>context
    if host.interrupted:
        return True
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        # Handlers run in the main thread only: this one, whose call will take it up.
        host.pending = error
        host.pending_in = PyThread_get_thread_ident()
        return True
    return False


cdef object hold_info(const dpx_hold_info *info):
    return HoldInfo(info.handle, <int>info.state, uuid_bytes(&info.lease), info.token, <int>info.mode,
                    <bytes>info.name[:info.name_length])


cdef class Grant:
    cdef readonly uint64_t _handle
    cdef readonly uint64_t _token
    cdef dpx_uuid _lease

    @property
    def _uuid_bytes(self):
        return uuid_bytes(&self._lease)


@cython.no_gc_clear  # the space must still be there when a host is freed
cdef class Host:
    cdef dpx_host *host
    cdef Space space  # outlives the host
    cdef bint counted  # among the users of the space
    cdef int users
    cdef bint closing
    cdef bint interrupted
    cdef int pid
    cdef object pending
    cdef unsigned long pending_in

    def __cinit__(self, Space space, *, bytes host_name, slot, bint retire, bint realtime, bytes machine, bytes boot,
                  bytes runtime, uint32_t software, timeout):
        cdef dpx_join_options options
        cdef dpx_failure failure
        cdef dpx_status status
        memset(&options, 0, sizeof(options))
        cdef uint64_t limit = limit_of(timeout)
        memset(&failure, 0, sizeof(failure))
        text_fill(options.host_name, DPX_HOST_NAME_MAX, host_name)
        options.slot = DPX_ANY_SLOT if slot is None else slot
        options.retire = retire
        options.realtime = realtime
        uuid_fill(&options.machine, machine)
        uuid_fill(&options.boot, boot)
        text_fill(options.runtime_directory, 511, runtime)
        options.software = software
        options.impatient = impatient
        options.context = <void *>self
        self.pid = getpid()
        space.enter()
        self.space = space
        self.counted = True
        with nogil:
            status = dpx_host_join(space.space, &options, limit, &self.host, &failure)
        if status != DPX_OK:
            self.host = NULL
            self.raise_pending()
            raise core_error(status, &failure)
        if self.pending is not None:  # joined at the very moment: nobody would know of it
            with nogil:
                dpx_host_leave(self.host, 0, &failure)
            self.raise_pending()

    def __dealloc__(self):
        # No call is under way: each holds a reference.  In a forked child the threads are not there.
        if getpid() != self.pid:
            return
        if self.host is not NULL:
            dpx_host_destroy(self.host)
        self.let_go()

    cdef void let_go(self) noexcept:
        """The space may close now, if that is all it waits for."""
        if self.counted:
            self.counted = False
            self.space.exit()

    cdef int enter(self) except -1:
        if self.host is NULL or self.closing or getpid() != self.pid:
            raise closed_error("the host is closed, or joined before a fork")
        self.users += 1
        return 0

    cdef void exit(self) noexcept:
        cdef dpx_host *host = self.host
        self.users -= 1
        if self.users == 0 and self.closing and host is not NULL:
            self.host = NULL
            with nogil:
                dpx_host_destroy(host)
            self.let_go()

    cdef int raise_pending(self) except -1:
        """Raise what a signal handler raised during this thread's wait."""
        if self.pending is None or self.pending_in != PyThread_get_thread_ident():
            return 0
        error, self.pending = self.pending, None
        raise error

    cdef int finish(self, dpx_status status, const dpx_failure *failure) except -1:
        self.raise_pending()
        if status != DPX_OK:
            raise core_error(status, failure)
        return 0

    def acquire(self, asks, bint create, timeout, list grants, dict held):
        cdef uint64_t limit = limit_of(timeout)
        cdef uint32_t count = len(asks)
        cdef dpx_failure failure
        cdef dpx_status status
        cdef dpx_ask *wanted
        cdef Grant grant
        kept = tuple(asks)  # the names' memory
        memset(&failure, 0, sizeof(failure))
        wanted = <dpx_ask *>calloc(count, sizeof(dpx_ask))
        if wanted is NULL:
            raise MemoryError
        try:
            for i in range(count):
                fill_ask(&wanted[i], kept[i])
            self.enter()
            try:
                with nogil:
                    status = dpx_host_acquire(self.host, wanted, count, create, limit, &failure)
                if status == DPX_OK:
                    for i in range(count):  # first of all and without memory: who knows of it can release it
                        grant = grants[i]
                        grant._handle = wanted[i].handle
                        grant._token = wanted[i].token
                        grant._lease = wanted[i].lease
                    for i in range(count):
                        held[wanted[i].handle] = grants[i]
            finally:
                self.exit()
        finally:
            free(wanted)
        self.finish(status, &failure)

    def release(self, list grants, timeout):
        cdef uint64_t limit = limit_of(timeout)
        cdef uint32_t count = len(grants)
        cdef dpx_failure failure
        cdef dpx_status status
        memset(&failure, 0, sizeof(failure))
        cdef uint64_t *numbers = <uint64_t *>calloc(count, sizeof(uint64_t))
        if numbers is NULL:
            raise MemoryError
        try:
            for i in range(count):
                numbers[i] = (<Grant?>grants[i])._handle
            self.enter()
            try:
                with nogil:
                    status = dpx_host_release(self.host, numbers, count, limit, &failure)
            finally:
                self.exit()
        finally:
            free(numbers)
        self.finish(status, &failure)

    def create(self, bytes name, timeout):
        cdef uint64_t limit = limit_of(timeout)
        cdef dpx_failure failure
        cdef dpx_status status
        cdef const char *text = name
        cdef size_t length = len(name)
        memset(&failure, 0, sizeof(failure))
        self.enter()
        try:
            with nogil:
                status = dpx_host_create(self.host, text, length, limit, &failure)
        finally:
            self.exit()
        self.finish(status, &failure)

    def delete(self, bytes name, timeout):
        cdef uint64_t limit = limit_of(timeout)
        cdef dpx_failure failure
        cdef dpx_status status
        cdef const char *text = name
        cdef size_t length = len(name)
        memset(&failure, 0, sizeof(failure))
        self.enter()
        try:
            with nogil:
                status = dpx_host_delete(self.host, text, length, limit, &failure)
        finally:
            self.exit()
        self.finish(status, &failure)

    def hold(self, uint64_t handle):
        cdef dpx_hold_info info
        self.enter()
        try:
            with nogil:
                info = dpx_host_hold(self.host, handle)
        finally:
            self.exit()
        return hold_info(&info)

    def held(self, uint64_t handle):
        cdef dpx_hold_state state
        self.enter()
        try:
            with nogil:
                state = dpx_host_hold_state(self.host, handle)
        finally:
            self.exit()
        return state == DPX_HOLD_HELD

    def holds(self):
        cdef uint32_t capacity = 64
        cdef uint32_t count
        cdef dpx_hold_info *found
        self.enter()
        try:
            while True:
                found = <dpx_hold_info *>calloc(capacity, sizeof(dpx_hold_info))
                if found is NULL:
                    raise MemoryError
                try:
                    with nogil:
                        count = dpx_host_holds(self.host, found, capacity)
                    if count <= capacity:
                        return [hold_info(&found[i]) for i in range(count)]
                finally:
                    free(found)
                capacity = count + 64
        finally:
            self.exit()

    def state(self):
        cdef dpx_host_status s
        self.enter()
        try:
            with nogil:
                s = dpx_host_state(self.host)
        finally:
            self.exit()
        return HostState(
            <int>s.end, s.who.slot, s.who.generation, uuid_bytes(&s.who.nonce), s.lifetime_end,
            s.remaining, bool(s.realtime), s.harden_error, s.lowering,
            s.heart.beats, s.heart.missed, s.heart.last_issue, s.heart.last_duration,
            s.heart.worst_duration, s.heart.notices, s.heart.counter,
        )

    def event_fd(self):
        self.enter()
        try:
            return dpx_host_event_fd(self.host)
        finally:
            self.exit()

    def next_event(self):
        cdef dpx_event event
        cdef c_bool found
        self.enter()
        try:
            with nogil:
                found = dpx_host_next_event(self.host, &event)
        finally:
            self.exit()
        if not found or event.kind == DPX_EVENT_NONE:
            return None
        kind = EVENT_NAMES.get(<int>event.kind, "unknown")
        return CoreEvent(kind, event.handle, <int>event.end, event.disk, event.slot, abs(event.error),
                         event.block, <bytes>event.name)

    def retire(self, uint32_t slot, timeout):
        cdef uint64_t limit = limit_of(timeout)
        cdef dpx_failure failure
        cdef dpx_status status
        memset(&failure, 0, sizeof(failure))
        self.enter()
        try:
            with nogil:
                status = dpx_host_retire(self.host, slot, limit, &failure)
        finally:
            self.exit()
        self.finish(status, &failure)

    def ask(self, uint32_t slot, uint32_t area):
        cdef dpx_failure failure
        cdef dpx_status status
        memset(&failure, 0, sizeof(failure))
        self.enter()
        try:
            with nogil:
                status = dpx_host_ask(self.host, slot, area, &failure)
        finally:
            self.exit()
        self.finish(status, &failure)

    def rewrite(self, uint32_t area, timeout):
        cdef uint64_t limit = limit_of(timeout)
        cdef dpx_failure failure
        cdef dpx_status status
        memset(&failure, 0, sizeof(failure))
        self.enter()
        try:
            with nogil:
                status = dpx_host_rewrite(self.host, area, limit, &failure)
        finally:
            self.exit()
        self.finish(status, &failure)

    def resolve(self, uint32_t area, timeout):
        cdef uint64_t limit = limit_of(timeout)
        cdef dpx_failure failure
        cdef dpx_status status
        memset(&failure, 0, sizeof(failure))
        self.enter()
        try:
            with nogil:
                status = dpx_host_resolve(self.host, area, limit, &failure)
        finally:
            self.exit()
        self.finish(status, &failure)

    def peers(self):
        cdef uint32_t capacity = self.space.geometry.shape.max_hosts
        cdef uint32_t count
        cdef dpx_peer_info *found = <dpx_peer_info *>calloc(capacity, sizeof(dpx_peer_info))
        if found is NULL:
            raise MemoryError
        try:
            self.enter()
            try:
                with nogil:
                    count = dpx_host_peers(self.host, found, capacity)
            finally:
                self.exit()
            return [
                PeerInfo(
                    found[i].record.who.slot, found[i].record.who.generation, found[i].record.counter,
                    bool(found[i].self_), bool(found[i].free), bool(found[i].damaged), bool(found[i].dead),
                    found[i].drain, bool(found[i].moved),
                    found[i].silent_for, found[i].until_silent,
                )
                for i in range(min(count, capacity))
            ]
        finally:
            free(found)

    def leave(self, timeout):
        cdef uint64_t limit = limit_of(timeout)
        cdef dpx_failure failure
        cdef dpx_status status
        memset(&failure, 0, sizeof(failure))
        self.enter()
        try:
            with nogil:
                status = dpx_host_leave(self.host, limit, &failure)
        finally:
            self.exit()
        self.finish(status, &failure)

    def interrupt(self):
        self.interrupted = True

    def close(self):
        if self.host is not NULL and not self.closing and getpid() == self.pid:
            self.interrupted = True
            self.users += 1
            self.closing = True
            self.exit()


cdef int fill_ask(dpx_ask *ask, tuple wanted) except -1:
    """The names' memory belongs to `wanted`, which the caller keeps."""
    cdef bytes name = wanted[0]
    cdef bytes label = wanted[3]
    ask.name = PyBytes_AsString(name)
    ask.name_length = len(name)
    ask.mode = <dpx_mode><int>wanted[1]
    if wanted[2] is not None:
        ask.resume = True
        uuid_fill(&ask.resume_lease, wanted[2][0])
        ask.resume_token = wanted[2][1]
    ask.label = PyBytes_AsString(label)
    ask.label_length = len(label)
    return 0
