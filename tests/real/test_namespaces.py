"""Hosts that the tests make are gone afterwards, whatever happened in between."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.real.namespaces import CLIENT, PUBLIC, SERVER, Topology, Unmakable, missing

#: Connects to an address where nobody listens: says whether it was reached.
_KNOCK = """
import socket
try:
    socket.create_connection(({!r}, 9), 2.0)
except ConnectionRefusedError:
    print("refused")
"""
#: Waits for one connection, and says where it comes from.
_WELCOME = """
import socket
with socket.create_server(("", 7601)) as listening:
    print("ready", flush=True)
    print(listening.accept()[1][0])
"""
_CALL = f"import socket; socket.create_connection(({SERVER!r}, 7601), 2.0).close()"


def existing() -> set[str]:
    """The namespaces of this machine, by name."""
    lines = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[0] for line in lines}


class TopologyTests(SynchronousTestCase):
    """Client, router and server."""

    def setUp(self) -> None:
        """They need root and Linux."""
        why = missing()
        if why is not None:
            raise SkipTest(why)

    def test_they_reach_each_other(self) -> None:
        """The client reaches the server through the router, and the server the client where nothing hides it."""
        with Topology() as topology:
            self.assertEqual(topology.run("client", sys.executable, "-c", _KNOCK.format(SERVER)), "refused\n")
            self.assertEqual(topology.run("server", sys.executable, "-c", _KNOCK.format(CLIENT)), "refused\n")

    def test_a_hidden_client(self) -> None:
        """Behind NAT the client reaches the server, which has no way to the client's own address."""
        with Topology(nat=True) as topology:
            command = [sys.executable, "-c", _WELCOME]
            with topology.start("server", command, stdout=subprocess.PIPE) as welcoming:
                self.addCleanup(welcoming.kill)
                assert welcoming.stdout is not None
                self.assertEqual(welcoming.stdout.readline(), "ready\n")
                topology.run("client", sys.executable, "-c", _CALL)
                self.assertEqual(welcoming.stdout.readline(), f"{PUBLIC}\n")
            failure = self.assertRaises(Unmakable, topology.run, "server", sys.executable, "-c", _KNOCK.format(CLIENT))
            self.assertIn("unreachable", str(failure))

    def test_nothing_remains(self) -> None:
        """All three are removed at the end, also after an error."""
        topology = Topology()
        with self.assertRaises(ZeroDivisionError), topology:
            self.assertLessEqual(set(topology.names.values()), existing())
            raise ZeroDivisionError
        self.assertEqual(set(topology.names.values()) & existing(), set())

    def test_what_others_left(self) -> None:
        """The namespaces of a process that was killed are removed by the next one; those of a living one are not."""
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        left, foreign = f"heartbeat-{dead.pid}-1-client", "heartbeat-1-1-client"
        for name in (left, foreign):
            subprocess.run(["ip", "netns", "add", name], check=True)
            self.addCleanup(subprocess.run, ["ip", "netns", "del", name], capture_output=True, check=False)
        with Topology():
            self.assertNotIn(left, existing())
            self.assertIn(foreign, existing())

    def test_a_command_that_fails(self) -> None:
        """What a command said when it failed is in the error."""
        with Topology() as topology:
            error = self.assertRaises(Unmakable, topology.run, "router", "sh", "-c", "echo no such thing >&2; exit 3")
            self.assertIn("no such thing", str(error))
