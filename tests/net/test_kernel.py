"""What the kernel is told and asked, and that nothing is missed where it cannot say."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import struct
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.config import KernelOptions
from heartbeat.liveness.evidence import Evidence
from heartbeat.net import kernel

ALL = KernelOptions(nodelay=True, keepalive=True, keepalive_idle=60, keepalive_interval=10, keepalive_count=3)
TCP = socket.IPPROTO_TCP
#: Of Linux; these tests are about Linux where they need it.
USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)


class Sock:
    """Stands in for a socket: remembers its options, and refuses some of them."""

    def __init__(
        self,
        family: int = socket.AF_INET,
        refuses: tuple[int, ...] = (),
        info: bytes = b"",
        code: int = errno.EINVAL,
    ) -> None:
        self.family = family
        self.code = code
        self.refuses = refuses
        self.info = info
        self.options: dict[tuple[int, int], int] = {}

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Remember it."""
        if option in self.refuses:
            raise OSError(self.code, os.strerror(self.code))
        self.options[level, option] = value

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """The structure that the kernel would give."""
        if not self.info:
            raise OSError(107, "Transport endpoint is not connected")
        return self.info[:size]

    def fileno(self) -> int:
        """It has been closed."""
        return -1


def load(**environment: str) -> Any:
    """A second copy of the module, imported in this environment."""
    spec = importlib.util.find_spec("heartbeat.net.kernel")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    old = dict(os.environ)
    os.environ.pop("HEARTBEAT_NO_KERNEL", None)
    os.environ.update(environment)
    try:
        spec.loader.exec_module(module)
    finally:
        os.environ.clear()
        os.environ.update(old)
    return module


class OptionTests(SynchronousTestCase):
    """apply_options, which says what became of each option that was asked for."""

    def apply(self, sock: Sock, options: KernelOptions) -> dict[str, str]:
        """Apply them."""
        return dict(load().apply_options(sock, options))

    def test_defaults(self) -> None:
        """Beats do not wait for each other (TCP_NODELAY); the rest is left as the kernel has it."""
        sock = Sock()
        self.assertEqual(self.apply(sock, KernelOptions()), {"nodelay": "applied"})
        self.assertEqual(sock.options, {(TCP, socket.TCP_NODELAY): 1})

    def test_nothing_asked(self) -> None:
        """What is switched off is not touched."""
        sock = Sock()
        self.assertEqual(self.apply(sock, KernelOptions(nodelay=False)), {})
        self.assertEqual(sock.options, {})

    def test_all(self) -> None:
        """Each option goes to its place with its value, on both IP families."""
        for family in (socket.AF_INET, socket.AF_INET6):
            sock = Sock(family)
            self.assertEqual(set(self.apply(sock, ALL).values()), {"applied"})
            self.assertEqual(
                sock.options,
                {
                    (TCP, socket.TCP_NODELAY): 1,
                    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
                    (TCP, socket.TCP_KEEPIDLE): 60,
                    (TCP, socket.TCP_KEEPINTVL): 10,
                    (TCP, socket.TCP_KEEPCNT): 3,
                },
            )

    def test_refused(self) -> None:
        """An option that the kernel refuses is named so, and the others are applied all the same."""
        sock = Sock(refuses=(socket.TCP_NODELAY, socket.TCP_KEEPIDLE))
        report = self.apply(sock, ALL)
        self.assertEqual((report["nodelay"], report["keepalive_idle"]), ("refused", "refused"))
        self.assertEqual((report["keepalive"], report["keepalive_count"]), ("applied", "applied"))

    def test_not_available(self) -> None:
        """An option that this platform does not have is named so."""
        self.patch(socket, "TCP_KEEPIDLE", None)
        report = self.apply(Sock(), ALL)
        self.assertEqual((report["keepalive_idle"], report["keepalive_interval"]), ("not available", "applied"))

    def test_unix(self) -> None:
        """A UNIX socket has none of them."""
        sock = Sock(socket.AF_UNIX)
        self.assertEqual(self.apply(sock, ALL), {})
        self.assertEqual(sock.options, {})

    def test_an_option_that_it_never_heard_of(self) -> None:
        """What an older kernel does not know is not refused: nothing is wrong with the value."""
        sock = Sock(refuses=(44,), code=errno.ENOPROTOOPT)
        report = load().apply_timeouts(sock, 4.5, 1.0)
        self.assertEqual(report, {"user_timeout": "applied", "rto_max": "not available"})

    def test_timeouts(self) -> None:
        """In milliseconds, rounded up, and never more than the kernel takes."""
        for seconds, written in ((4.5, 4500), (0.0001, 1), (1.0001, 1001), (1e9, 2**31 - 1)):
            sock = Sock()
            self.assertEqual(load().apply_timeouts(sock, seconds, None), {"user_timeout": "applied"})
            self.assertEqual(sock.options, {(TCP, USER_TIMEOUT): written})
        sock = Sock()
        self.assertEqual(load().apply_timeouts(sock, 4.5, 1.5), {"user_timeout": "applied", "rto_max": "applied"})
        self.assertEqual(sock.options, {(TCP, USER_TIMEOUT): 4500, (TCP, 44): 1500})

    def test_no_cap_alone(self) -> None:
        """Where the user timeout cannot be set, the pause between attempts is left alone: alone it is a new danger."""
        sock = Sock(refuses=(USER_TIMEOUT,))
        report = load().apply_timeouts(sock, 4.5, 1.0)
        self.assertEqual((report, sock.options), ({"user_timeout": "refused", "rto_max": "not available"}, {}))

    def test_timeouts_of_a_unix_socket(self) -> None:
        """It has none."""
        self.assertEqual(load().apply_timeouts(Sock(socket.AF_UNIX), 4.5, 1.0), {})

    def test_what_is_asked_for_behind_the_gate(self) -> None:
        """The names of the two timeouts, if they are wanted."""
        for options, names in (
            (KernelOptions(), ("user_timeout",)),
            (KernelOptions(user_timeout=None), ()),
            (KernelOptions(user_timeout=5.0, rto_max=1.0), ("user_timeout", "rto_max")),
        ):
            self.assertEqual(kernel.timeouts(options), names)

    def test_unsent(self) -> None:
        """The limit of what the kernel holds unsent, where there is one."""
        with_kernel = load()
        self.assertEqual(with_kernel.limit_unsent(sock := Sock()), "applied")
        self.assertEqual(list(sock.options.values()), [16 * 1024])
        option = next(iter(sock.options))[1]
        self.assertEqual(with_kernel.limit_unsent(Sock(refuses=(option,))), "refused")
        self.assertEqual(with_kernel.limit_unsent(Sock(socket.AF_UNIX)), "not available")
        self.assertEqual(load(HEARTBEAT_NO_KERNEL="1").limit_unsent(Sock()), "not available")

    def test_how_much_is_unsent(self) -> None:
        """Bytes that were taken and not sent, counted on Linux; None where nobody can say, or the socket is closed."""
        with_kernel = load()
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
        self.addCleanup(near.close)
        self.addCleanup(far.close)
        self.assertIsNone(load(HEARTBEAT_NO_KERNEL="1").unsent(near))
        self.assertIsNone(with_kernel.unsent(Sock()))
        if not sys.platform.startswith("linux"):
            self.assertIsNone(with_kernel.unsent(near))
            return
        self.assertEqual(with_kernel.unsent(near), 0)
        near.setblocking(False)
        try:  # nobody reads: the window closes, and the rest stays here
            while True:
                near.send(bytes(1 << 20))
        except BlockingIOError:
            pass
        unsent = with_kernel.unsent(near)
        self.assertGreater(unsent, 0)
        self.assertLess(unsent, with_kernel.look(near, 0.0).outq)


class LookTests(SynchronousTestCase):
    """What can be seen."""

    #: ESTABLISHED, two retransmissions; an RTT of 1.5 ms; the rest of the structure is zeros.
    info = bytes((1, 0, 2, 0, 2)) + bytes(63) + struct.pack("=I", 1500) + bytes(160)

    def test_the_kernels_view(self) -> None:
        """TCP_INFO of a TCP socket."""
        tcp = load().tcp_info(Sock(info=self.info))
        self.assertEqual((tcp.state, tcp.retransmits, tcp.backoff, tcp.rtt), (1, 2, 2, 0.0015))

    def test_an_older_kernel(self) -> None:
        """A shorter structure gives what it holds, the rest is unknown; what is no structure is nothing."""
        tcp = load().tcp_info(Sock(info=self.info[:72]))
        self.assertEqual((tcp.rtt, tcp.total_retrans, tcp.bytes_received), (0.0015, None, None))
        self.assertIsNone(load().tcp_info(Sock(info=b"\1")))

    def test_closed(self) -> None:
        """A socket that was closed meanwhile has nothing to say, and that is no error."""
        self.assertIsNone(load().tcp_info(Sock()))
        seen = load().look(Sock(), 3.0)
        self.assertEqual(seen, Evidence(3.0, reading=True))

    def test_unix(self) -> None:
        """A UNIX socket has no TCP_INFO, and is not asked for one."""
        self.assertIsNone(load().tcp_info(Sock(socket.AF_UNIX, info=self.info)))

    def test_what_the_shell_knows(self) -> None:
        """What waits in user space, and whether we read, is passed on."""
        seen = load().look(Sock(info=self.info), 3.0, waiting=17, reading=False)
        self.assertEqual((seen.at, seen.waiting, seen.reading), (3.0, 17, False))
        self.assertEqual(seen.tcp.retransmits, 2)


class PlatformTests(SynchronousTestCase):
    """Where the kernel cannot say."""

    def test_switched_off(self) -> None:
        """HEARTBEAT_NO_KERNEL=1: nothing is seen or set, as on a platform that has none of it."""
        off = load(HEARTBEAT_NO_KERNEL="1")
        self.assertFalse(off.ENABLED)
        self.assertIsNone(off.tcp_info(Sock(info=LookTests.info)))
        self.assertEqual(off.look(Sock(info=LookTests.info), 1.0), Evidence(1.0, reading=True))
        sock = Sock()
        self.assertEqual(set(off.apply_options(sock, ALL).values()), {"not available"})
        self.assertEqual(set(off.apply_timeouts(sock, 4.5, 1.0).values()), {"not available"})
        self.assertEqual(sock.options, {})

    def test_not_switched_off(self) -> None:
        """An empty variable, or 0, leaves everything on."""
        for value in ("", "0"):
            self.assertTrue(load(HEARTBEAT_NO_KERNEL=value).ENABLED)

    def test_without_ioctl(self) -> None:
        """Without fcntl, as on Windows, the module can be imported, and the counts are unknown."""
        for name in ("fcntl", "termios"):
            self.addCleanup(sys.modules.__setitem__, name, sys.modules[name])
            sys.modules[name] = None  # type: ignore[assignment]  # what makes an import fail
        module = load()
        seen = module.look(Sock(info=LookTests.info), 1.0)
        self.assertEqual((seen.unread, seen.outq), (None, None))
        self.assertIsNotNone(seen.tcp)
