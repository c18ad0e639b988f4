"""Packets of video back in their order, and frames out as soon as they are whole, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from salon.transport.packets import MediaPacket

CAPACITY = 1024
"""Packets: some seconds of a large picture."""
MAX_EARLIER = 256
"""How far before the first packet that came the first one of its frame may be."""

Tells = Callable[[bytes], bool]


class ReorderBuffer:
    """Holds what came after a hole, at most `capacity` packets.

    Numbers here are extended: they do not wrap (`extend`). A frame is given out when all its
    packets are there: from one that certainly begins it (`begins` says so of a payload, or the
    frame before ended just there) to the one with the marker bit (D15), or, from senders that set
    none, to the last before another timestamp.
    """

    def __init__(self, begins: Tells, *, capacity: int = CAPACITY) -> None:
        self._begins = begins
        self._capacity = capacity
        self._packets: dict[int, MediaPacket] = {}
        self._next: int | None = None
        """First number of the next frame, or the first of interest while that is unknown."""
        self._aligned = False
        """A frame begins at `_next`."""
        self._fresh = True
        """No frame has begun yet, so that its beginning may still come after its rest."""
        self._scan = 0
        """All from `_next` to before this number are there."""
        self.highest: int | None = None
        """Highest number that came."""
        self.duplicates = 0
        self.late = 0
        """Came after their place was given up, or long before what is awaited."""
        self.overflowed = 0
        """How often the capacity was reached."""
        self.passed = 0
        """Packets that were let go without a frame."""

    def __len__(self) -> int:
        return len(self._packets)

    @property
    def next_number(self) -> int | None:
        """The first number of interest; None before the first packet."""
        return self._next

    @property
    def broken(self) -> bool:
        """A hole, or no beginning, keeps back what came after it."""
        return bool(self._packets) and (not self._aligned or self._hole() is not None)

    def extend(self, sequence: int) -> int:
        """The number nearest to the highest one that wraps to `sequence`."""
        if self.highest is None:
            return sequence + 0x10000
        step = (sequence - self.highest) & 0xFFFF
        return self.highest + (step if step < 0x8000 else step - 0x10000)

    def add(self, packet: MediaPacket) -> int | None:
        """Take one packet; its number if it was of use, else None and counted."""
        number = self.extend(packet.sequence)
        if self._next is None:
            self._next = self._scan = self.highest = number
            self._fresh = True
        if self._fresh and not self._aligned and 0 < self._next - number <= MAX_EARLIER:
            self._next = self._scan = number
        if number < self._next or (self.highest or 0) - number >= self._capacity:
            self.late += 1
            return None
        if number in self._packets:
            self.duplicates += 1
            return None
        if number - self._next >= self._capacity:
            self.overflowed += 1
            self._skip_to(number - self._capacity + 1, aligned=False)
        self._packets[number] = packet
        self.highest = max(self.highest or number, number)
        if not self._aligned:
            self._align()
        return number

    def next_frame(self) -> list[MediaPacket] | None:
        """The packets of the next frame in their order; None while it is not whole."""
        if not self._aligned or self._next is None:
            return None
        packets = self._packets
        at = max(self._scan, self._next)
        while (packet := packets.get(at)) is not None:
            if at > self._next and packet.timestamp != packets[at - 1].timestamp:
                return self._release(at)
            at += 1
            if packet.marker:
                return self._release(at)
        self._scan = at
        return None

    def missing(self) -> Iterable[int]:
        """The numbers of the holes, in order."""
        if self._next is None or self.highest is None:
            return ()
        first = max(self._scan, self._next) if self._aligned else self._next
        return (number for number in range(first, self.highest) if number not in self._packets)

    def skip_hole(self) -> bool:
        """Give up the frame that is not whole: go on with the first that certainly begins after
        the hole. False if there was no hole."""
        hole = self._hole()
        if hole is None:
            return False
        self._skip_to(hole + 1, aligned=False)
        self._align()
        return True

    def skip_to(self, number: int) -> bool:
        """Go on with the frame that begins at `number`, if anything is missing before it."""
        hole = self._hole()
        if self._next is None or number <= self._next:
            return False
        if self._aligned and (hole is None or hole >= number):
            return False
        self._skip_to(number, aligned=True)
        return True

    def clear(self) -> None:
        """Begin anew, with whatever number comes next."""
        self.passed += len(self._packets)
        self._packets.clear()
        self._next = self.highest = None
        self._aligned = False

    def _release(self, end: int) -> list[MediaPacket]:
        first = self._next or 0
        frame = [self._packets.pop(number) for number in range(first, end)]
        self._next = self._scan = end
        return frame

    def _hole(self) -> int | None:
        """The first number that is not there although a later one is."""
        if self._next is None or self.highest is None:
            return None
        at = max(self._scan, self._next) if self._aligned else self._next
        while at in self._packets:
            at += 1
        return at if at < self.highest else None

    def _skip_to(self, number: int, *, aligned: bool) -> None:
        for old in [item for item in self._packets if item < number]:
            del self._packets[old]
            self.passed += 1
        self._next = self._scan = number
        self._aligned = aligned
        self._fresh = False

    def _align(self) -> None:
        """Find the first packet that certainly begins a frame."""
        for number in sorted(self._packets):
            before = self._packets.get(number - 1)
            packet = self._packets[number]
            if (
                (before is not None and before.marker)
                or (before is not None and before.timestamp != packet.timestamp)
                or self._begins(packet.payload)
            ):
                self._skip_to(number, aligned=True)
                return
