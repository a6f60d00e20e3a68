"""What the tests of TLS share: files of certificates, raw peers over TLS, and a box in the middle."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import tempfile
import threading
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import trustme
from cryptography import x509

from tests.real.rawpeer import RawPeer

__all__ = ["Files", "Middle", "secure", "serial_of"]


class Files:
    """A folder with an authority, and certificates of it that can be replaced while somebody uses them.

    :ivar ca: the path of the authority
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hb-")
        self.authority = trustme.CA()
        self.ca = self.path("ca.crt")
        self.authority.cert_pem.write_to_path(self.ca)

    def path(self, name: str) -> str:
        """Of a file in the folder."""
        return str(Path(self._folder.name, name))

    def issue(
        self, name: str, *names: str, by: trustme.CA | None = None, valid: tuple[datetime, datetime] | None = None
    ) -> tuple[str, str]:
        """Write a new certificate and its key under this name, each at once; the two paths."""
        before, after = valid or (None, None)
        authority = self.authority if by is None else by
        issued = authority.issue_cert(*names, not_before=before, not_after=after)
        parts = (b"".join(one.bytes() for one in issued.cert_chain_pems), issued.private_key_pem.bytes())
        paths = (self.path(f"{name}.crt"), self.path(f"{name}.key"))
        for path, data in zip(paths, parts, strict=True):
            whole = Path(f"{path}.new")
            whole.write_bytes(data)
            os.replace(whole, path)  # noqa: PTH105  # the same with a text
        return paths

    def serial(self, name: str) -> int:
        """Of the certificate that is there now."""
        return x509.load_pem_x509_certificates(Path(self.path(f"{name}.crt")).read_bytes())[0].serial_number

    def context(self, own: tuple[str, str] | None = None) -> ssl.SSLContext:
        """Of a client that trusts the authority, with a certificate of its own if asked."""
        context = ssl.create_default_context(cafile=self.ca)
        if own is not None:
            context.load_cert_chain(*own)
        return context

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the folder away."""
        self._folder.cleanup()


def secure(port: int, context: ssl.SSLContext, timeout: float = 10.0) -> RawPeer:
    """A raw peer that has shaken hands with a port of 127.0.0.1."""
    plain = socket.create_connection(("127.0.0.1", port), timeout)
    try:
        return RawPeer(context.wrap_socket(plain, server_hostname="localhost"))
    except BaseException:
        plain.close()
        raise


def serial_of(peer: RawPeer) -> int:
    """Of the certificate that the server has shown."""
    shown: Any = peer.sock
    return x509.load_der_x509_certificate(shown.getpeercert(binary_form=True)).serial_number


class Middle:
    """A box that terminates TLS with a certificate of its own and passes on what it reads, both ways.

    :ivar port: where it listens
    :ivar heard: what clients have said through it, in clear
    """

    def __init__(self, own: tuple[str, str], target: int, trusts: str) -> None:
        self._towards_us = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._towards_us.load_cert_chain(*own)
        self._onwards = ssl.create_default_context(cafile=trusts)
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]
        self.heard = b""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            plain.settimeout(30.0)
            near = self._towards_us.wrap_socket(plain, server_side=True)
            onwards = socket.create_connection(("127.0.0.1", self._target), 30.0)
            far = self._onwards.wrap_socket(onwards, server_hostname="localhost")
            self._open += [near, far]
            threading.Thread(target=self._pass_on, args=(far, near, False), daemon=True).start()
            self._pass_on(near, far, True)

    def _pass_on(self, source: socket.socket, to: socket.socket, note: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if note:
                    self.heard += data
                to.sendall(data)
        for one in (source, to):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything."""
        self._listening.close()
        for one in self._open:
            one.close()
