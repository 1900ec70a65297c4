"""Numbers that master and workers share without a system call: one anonymous mapping with a slot for each worker.

A slot is two cache lines of unsigned 64-bit fields. Its worker writes them, except SWEEP and those from PID on,
which the master sets. Every worker reads the first line of all slots; the second one is the master's, the worker's and
the observer's alone. This module knows no process and no clock.
"""

from __future__ import annotations

import heapq
import mmap

from geventwsgi.config.kinds import MOST_WORKERS
from geventwsgi.errors import WorkerBootError
from geventwsgi.observe.stall_table import SharedStalls, StallTable

#: The fields of a slot, by position.
(
    BEATS, REQUESTS, CONNECTIONS, SERVED, TOLD, SWEEP, ACCEPTING, RETIRES, BUSY, PID, NUMBER, BORN, STAGE, SEAT, DUE,
) = range(15)  # fmt: skip
FIELDS = 16
#: Slots. The system allocates no memory for those that are never used.
SLOTS = MOST_WORKERS
#: How far a worker's life is, by the number in its slot.
STAGES = ("booting", "ready", "leaving")


#: A worker that takes connections of others: its slot, which a successor may have later, and its own number.
Seat = tuple[int, int]


class Slot:
    """One worker's fields; made by the master before the fork, written by the worker after it."""

    __slots__ = ("_base", "_fields", "index", "stalls")

    def __init__(self, fields: memoryview, index: int, stalls: StallTable) -> None:
        self.index = index
        #: The worst stalls of this worker and of those that had the slot before.
        self.stalls = stalls
        self._fields = fields
        self._base = index * FIELDS

    @property
    def beats(self) -> int:
        """Calls of :meth:`beat` since the worker started."""
        return int(self._fields[self._base + BEATS])

    def beat(self) -> None:
        """Count one beat: the worker's loop turns."""
        self._fields[self._base + BEATS] += 1

    @property
    def requests(self) -> int:
        """Requests in flight, as counted at the last beat or at the last change of the connections."""
        return int(self._fields[self._base + REQUESTS])

    @property
    def connections(self) -> int:
        """Open connections."""
        return int(self._fields[self._base + CONNECTIONS])

    @property
    def served(self) -> int:
        """Requests begun since the worker started, at the last beat."""
        return int(self._fields[self._base + SERVED])

    def count(self, requests: int, connections: int) -> None:
        """Write the numbers of requests in flight and of open connections."""
        self._fields[self._base + REQUESTS] = requests
        self._fields[self._base + CONNECTIONS] = connections

    def count_one_more(self) -> None:
        """Count a connection, until :meth:`count` is called with the right number."""
        self._fields[self._base + CONNECTIONS] += 1

    def count_served(self, served: int) -> None:
        """Write the number of requests begun since the worker started."""
        self._fields[self._base + SERVED] = served

    @property
    def told(self) -> bool:
        """Whether the worker has written its stacks to the error log since the master asked for them."""
        return bool(self._fields[self._base + TOLD])

    def tell(self) -> None:
        """Mark that the stacks are in the error log."""
        self._fields[self._base + TOLD] = 1

    def ask_stacks(self) -> None:
        """Mark that the master asks for the stacks, of which none is in the error log yet."""
        self._fields[self._base + TOLD] = 0

    @property
    def sweep(self) -> bool:
        """Whether the worker is to serve what waits in the backlog before it ends, since no other process will."""
        return bool(self._fields[self._base + SWEEP])

    def order_sweep(self) -> None:
        """Set :attr:`sweep`; for the master."""
        self._fields[self._base + SWEEP] = 1

    @property
    def retires(self) -> bool:
        """Whether the worker has begun to end by itself."""
        return int(self._fields[self._base + RETIRES]) == 1

    @property
    def asks(self) -> bool:
        """Whether the worker serves on, but asks for a successor."""
        return int(self._fields[self._base + RETIRES]) == 2

    def retire(self) -> None:
        """Mark that the worker ends by itself."""
        self._fields[self._base + RETIRES] = 1

    @property
    def obeys(self) -> bool:
        """Whether the worker ends since a signal has told it to."""
        return int(self._fields[self._base + RETIRES]) == 3

    def obey(self) -> None:
        """Mark that a signal has told the worker to end."""
        self._fields[self._base + RETIRES] = 3

    def ask(self) -> None:
        """Ask for a successor."""
        self._fields[self._base + RETIRES] = 2

    @property
    def busy_since(self) -> int:
        """When the worker's loop began its turn, in nanoseconds on the monotonic clock; 0 while the loop waits."""
        return int(self._fields[self._base + BUSY])

    @busy_since.setter
    def busy_since(self, nanoseconds: int) -> None:
        self._fields[self._base + BUSY] = nanoseconds

    def introduce(self, pid: int, number: int, born: int, stage: str) -> None:
        """Write who the worker is; for the master. Written last, the pid says that the rest is there.

        :param number: how many workers the master had started up to this one.
        :param born: when it was forked, in nanoseconds on the monotonic clock.
        :param stage: one of :data:`STAGES`.
        """
        fields, base = self._fields, self._base
        fields[base + NUMBER], fields[base + BORN] = number, born
        fields[base + STAGE] = STAGES.index(stage)
        fields[base + PID] = pid

    @property
    def pid(self) -> int:
        """The worker's process id; 0 before :meth:`introduce`."""
        return int(self._fields[self._base + PID])

    @property
    def number(self) -> int:
        """How many workers the master had started up to this one."""
        return int(self._fields[self._base + NUMBER])

    @property
    def born(self) -> int:
        """When the worker was forked, in nanoseconds on the monotonic clock."""
        return int(self._fields[self._base + BORN])

    @property
    def stage(self) -> str:
        """One of :data:`STAGES`."""
        return STAGES[self._fields[self._base + STAGE]]

    def accept(self, *, accepting: bool) -> None:
        """Write whether the worker accepts connections."""
        self._fields[self._base + ACCEPTING] = accepting

    def least(self) -> int:
        """Return the lowest sum of requests and connections among the workers that accept; -1 if none does."""
        least = -1
        base = 0
        end = self._fields[-1]  # the end of the slots that were ever taken
        while base < end:
            if self._fields[base + ACCEPTING]:
                load = self._fields[base + REQUESTS] + self._fields[base + CONNECTIONS]
                if load < least or least < 0:
                    least = load
            base += FIELDS
        return least

    def sit(self, number: int) -> None:
        """Write that the worker takes connections of other workers.

        :param number: its own, not 0; no other worker of this master has it.
        """
        self._fields[self._base + SEAT] = number

    def rise(self) -> None:
        """Write that it takes none any more."""
        self._fields[self._base + SEAT] = 0

    def sitting(self, index: int) -> int:
        """Return the number of the worker that has a slot and takes connections of others; 0 if there is none."""
        base = index * FIELDS
        return int(self._fields[base + SEAT]) if 0 <= base < self._fields[-1] else 0

    def be_due(self) -> None:
        """Write that the worker is about to be replaced; for the master."""
        self._fields[self._base + DUE] = 1

    def seats(self) -> list[Seat]:
        """Return the workers that take connections of others, this one included if it does."""
        slots = range(self._fields[-1] // FIELDS)
        return [(index, number) for index in slots if (number := self.sitting(index))]

    def connections_at(self, seat: Seat) -> int:
        """Return how many connections a worker has, as it has counted them last."""
        return int(self._fields[seat[0] * FIELDS + CONNECTIONS])

    def others(self) -> list[Seat]:
        """Return the other workers that take connections: those that stay; if there are none, all."""
        others = [seat for seat in self.seats() if seat[0] != self.index]
        return [seat for seat in others if not self._fields[seat[0] * FIELDS + DUE]] or others

    def clear(self) -> None:
        """Set all fields to 0."""
        for field in range(FIELDS):
            self._fields[self._base + field] = 0


class SharedSlots:
    """The mapping with its free slots; the master makes it before its first fork."""

    def __init__(self, slots: int = SLOTS) -> None:
        self.stalls = SharedStalls(slots)
        self._fields = memoryview(mmap.mmap(-1, (slots + 1) * FIELDS * 8)).cast("Q")
        self._free = list(range(slots))

    def take(self) -> Slot:
        """Return the lowest free slot, cleared.

        :raises WorkerBootError: there are as many workers as slots.
        """
        if not self._free:
            most = len(self._fields) // FIELDS - 1
            raise WorkerBootError(f"there cannot be more than {most} workers: lower --workers")
        slot = self._slot(heapq.heappop(self._free))
        slot.clear()
        self._fields[-1] = max(self._fields[-1], (slot.index + 1) * FIELDS)
        return slot

    def _slot(self, index: int) -> Slot:
        return Slot(self._fields, index, self.stalls.of(index))

    @property
    def beats(self) -> int:
        """Calls of :meth:`beat`."""
        return int(self._fields[-2])

    def beat(self) -> None:
        """Count one beat of the observer: its loop turns."""
        self._fields[-2] += 1

    def used(self) -> int:
        """Return the number of slots that were ever taken."""
        return int(self._fields[-1]) // FIELDS

    def taken(self) -> list[Slot]:
        """Return the slots of the workers that the master has introduced."""
        slots = [self._slot(index) for index in range(self.used())]
        return [slot for slot in slots if slot.pid]

    def release(self, slot: Slot) -> None:
        """Give back the slot of a worker that has ended."""
        slot.clear()
        heapq.heappush(self._free, slot.index)
