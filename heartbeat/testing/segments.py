"""What travels over a simulated path: a TCP segment, as far as it matters here. Pure.

Sequence numbers are plain integers: they begin at 0 and do not wrap. A SYN and a FIN take one each. Checksums,
urgent data, options and time-wait are left out: a heartbeat cannot notice them.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BUFFER", "SEGMENT", "Address", "Segment"]

Address = tuple[str, int]

#: Bytes in each kernel buffer: small against Linux's megabytes, so that tests fill it cheaply.
BUFFER: Final = 65_536
#: Bytes in one segment. Larger than Ethernet's 1460: a simulated message should be one event, not twelve.
SEGMENT: Final = 16_384


class Segment:
    """What travels over a path.

    :ivar source: address and port of the sender
    :ivar target: address and port of the receiver
    :ivar seq: the number of its first byte
    :ivar ack: the number of the next byte that its sender expects; None in the very first SYN
    :ivar window: how many more bytes its sender will take
    :ivar probe: it has no news and asks for an acknowledgement (a closed window is probed so)
    """

    __slots__ = ("ack", "data", "fin", "probe", "rst", "seq", "source", "syn", "target", "window")

    def __init__(
        self,
        source: Address,
        target: Address,
        seq: int = 0,
        ack: int | None = None,
        window: int = 0,
        *,
        data: bytes = b"",
        syn: bool = False,
        fin: bool = False,
        rst: bool = False,
        probe: bool = False,
    ) -> None:
        self.source = source
        self.target = target
        self.seq = seq
        self.ack = ack
        self.window = window
        self.data = data
        self.syn = syn
        self.fin = fin
        self.rst = rst
        self.probe = probe

    def __str__(self) -> str:
        flags = "".join(
            letter for letter, there in (("S", self.syn), ("F", self.fin), ("R", self.rst), ("P", self.probe)) if there
        )
        return (
            f"{self.source[0]}:{self.source[1]} > {self.target[0]}:{self.target[1]} "
            f"[{flags}] {self.seq}+{len(self.data)} ack {self.ack} win {self.window}"
        )
