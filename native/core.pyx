# cython: language_level=3, embedsignature=True
"""The native core, thinly bound; diskpaxos/_core.pyi is its documentation.

Whatever may block runs without the GIL, and no C thread of the core ever takes it: only the
thread that called in asks now and then, through the host room's `impatient`, whether a signal
handler wants to run.
"""
from collections import namedtuple

cimport cython

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EIO
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.types cimport off_t
from posix.unistd cimport getpid, pread, pwrite

from dpx_format cimport *
from dpx_host cimport *

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *length) except NULL
    unsigned long PyThread_get_thread_ident() nogil

include "binding_format.pyx"
include "binding_space.pyx"
include "binding_host.pyx"
