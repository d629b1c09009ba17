"""Forwards Ethernet frames between two interfaces, each after a while: delay.py ONE OTHER MILLISECONDS.

Says "ready" once it does.
"""

from __future__ import annotations

import collections
import contextlib
import select
import socket
import struct
import sys
import time

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
PACKET_MR_PROMISC = 1
#: A frame that the kernel has not cut into segments yet, and the header that says how to.
LARGEST_FRAME_BYTES = 65536 + 256


def attach(interface: str) -> socket.socket:
    """Reads and writes the interface's frames with the header that keeps unfinished checksums valid."""
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    end.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    end.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    end.bind((interface, ETH_P_ALL))
    promiscuous = struct.pack("iHH8s", socket.if_nametoindex(interface), PACKET_MR_PROMISC, 0, b"")
    end.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, promiscuous)
    end.setblocking(False)
    return end


def forward(one: socket.socket, other: socket.socket, delay_s: float) -> None:
    waiting: collections.deque[tuple[float, socket.socket, bytes]] = collections.deque()
    while True:
        pause_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([one, other], [], [], pause_s)
        now = time.monotonic()
        for source in readable:
            target = other if source is one else one
            with contextlib.suppress(BlockingIOError):
                while True:
                    waiting.append((now + delay_s, target, source.recv(LARGEST_FRAME_BYTES)))
        while waiting and waiting[0][0] <= now:
            _, target, frame = waiting.popleft()
            with contextlib.suppress(OSError):  # a full queue or a link that is down: a lost frame
                target.send(frame)


if __name__ == "__main__":
    ends = attach(sys.argv[1]), attach(sys.argv[2])
    print("ready", flush=True)
    forward(*ends, float(sys.argv[3]) / 1000)
