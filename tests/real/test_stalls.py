"""A server that could not run for a while blames nobody for it."""

from __future__ import annotations

import selectors
import signal
import threading
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.real.processes import Server, poll
from tests.real.rawpeer import ACK, PING, STALLED, SYNC, SYNC_ACK, Ended, Frame, Silence, connect, short

_PEERS = 50
_STALL = 4.0


class Crowd:
    """Raw peers that beat every half second and answer everything, in a thread of their own."""

    def __init__(self, port: int) -> None:
        self.peers = [connect(port) for _ in range(_PEERS)]
        for number, peer in enumerate(self.peers):
            peer.greet(id=f"crowd-{number}", caps=["stalled"])
        self.read: list[list[Frame]] = [[] for _ in self.peers]
        self.ended: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and the connections."""
        self._over.set()
        self._thread.join(5.0)
        for peer in self.peers:
            peer.close()

    def _run(self) -> None:
        readable = selectors.DefaultSelector()
        for number, peer in enumerate(self.peers):
            readable.register(peer.sock, selectors.EVENT_READ, number)
        begun, beats = time.monotonic(), 0
        while not self._over.is_set():
            due = begun + beats * 0.5
            for key, _ in readable.select(max(0.0, due - time.monotonic())):
                try:
                    self._take(key.data)
                except (Ended, OSError) as end:
                    self.ended.append(f"crowd-{key.data}: {end}")
                    readable.unregister(key.fileobj)
            if time.monotonic() >= due:
                beats += 1
                for key in list(readable.get_map().values()):
                    self.peers[key.data].send(short(PING, beats, beats))
        readable.close()

    def _take(self, number: int) -> None:
        peer = self.peers[number]
        try:
            while True:
                frame = peer.frame(0.001)
                self.read[number].append(frame)
                if frame.magic in (PING, SYNC):
                    peer.answer(frame)
        except Silence:
            return


class StallTests(SynchronousTestCase):
    """SIGSTOP for 4 s, nearly three times the detection time of 1.5 s."""

    def test_nobody_dies(self) -> None:
        """50 peers beat on while the server stands still: nobody is dead or disconnected, and the spared are counted.

        Each is told by STALLED for how long the server could not run.
        """
        server = Server("--ping-interval", "0.5")
        self.addCleanup(server.kill)
        crowd = Crowd(server.port)
        self.addCleanup(crowd.stop)
        poll(lambda: server.metric("heartbeat_peers", state="alive") == _PEERS, 5.0, "all are alive")
        time.sleep(1.2)
        spared = server.metric("heartbeat_spared_total", reason="local_stall")
        server.signal(signal.SIGSTOP)
        time.sleep(_STALL)
        server.signal(signal.SIGCONT)
        poll(
            lambda: server.metric("heartbeat_spared_total", reason="local_stall") > spared,
            2.0,
            "the spared are counted",
        )
        time.sleep(2.0)
        self.assertEqual(crowd.ended, [])
        self.assertEqual({peer["state"] for peer in server.peers()}, {"alive"})
        self.assertEqual(len(server.peers()), _PEERS)
        self.assertEqual(server.failures(), [])
        self.assertEqual(server.metric("heartbeat_failures_total"), 0.0)
        for frames in crowd.read:
            told = [frame.word for frame in frames if frame.magic == STALLED]
            self.assertEqual(len(told), 1)
            self.assertTrue(3400 <= told[0] <= 4600, told)
            answered = [frame.seq for frame in frames if frame.magic == ACK]
            self.assertEqual(answered, list(range(1, len(answered) + 1)), "every PING was answered, in order")
            self.assertIn(SYNC, [frame.magic for frame in frames])
            self.assertNotIn(SYNC_ACK, [frame.magic for frame in frames])
        self.assertEqual(server.complaints(), [])
