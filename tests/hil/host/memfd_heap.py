"""Buffers for picamera2 on a machine without dma-buf heaps; importing it is enough.

libcamera's virtual camera fills what it can map, so shared memory will do.
"""

import os
import types

from picamera2.allocators import dmaallocator
from picamera2.dma_heap import UniqueFD


class SharedMemory:
    """Stands in for picamera2's DmaHeap."""

    isValid = True

    def alloc(self, name, size):
        """A new buffer of `size` bytes."""
        fd = os.memfd_create(name)
        os.ftruncate(fd, size)
        return UniqueFD(fd)

    def close(self):
        """There is nothing to close."""


dmaallocator.DmaHeap = SharedMemory
# Its only use there is DMA_BUF_IOCTL_SYNC: ordinary memory is always in step.
dmaallocator.fcntl = types.SimpleNamespace(ioctl=lambda *_: 0)
