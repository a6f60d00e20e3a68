"""Keys and certificates as they are read: everything whole and fitting, or one clear word about what is not."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import BadCertificate, ConfigError
from heartbeat.net.tls.material import MOST_BYTES, Pem, pem_files
from heartbeat.net.tls.names import names_of
from heartbeat.net.tls.pins import Pins, pin_of, read_pin
from tests.net.tls.cases import IN_FUTURE, LONG_AGO, pem

GOOD = pem("localhost")
OTHER = pem("localhost")
NOW = time.time()


class MaterialCase(SynchronousTestCase):
    """What is wrong is named."""

    def trouble(self, given: Pem, wall: float = NOW) -> str:
        """What is said of it; with no word of a key in it."""
        failed = self.assertRaises(BadCertificate, lambda: given.read().check(wall))
        for line in (GOOD.key or b"").decode().splitlines():
            self.assertNotIn(line, str(failed))
        return str(failed)


class PemTests(MaterialCase):
    """From text to objects."""

    def test_good(self) -> None:
        """A certificate with its key and an authority is what it says; it names its serial and its end."""
        material = GOOD.read()
        material.check(NOW)
        own = material.chain[0]
        self.assertIn(f"{own.serial_number:x}", str(material))
        self.assertEqual(material.not_after, own.not_valid_after_utc.timestamp())
        self.assertEqual(len(material.authorities or ()), 1)

    def test_only_authorities(self) -> None:
        """A client may have no certificate; it then has no end either."""
        material = pem().read()
        material.check(NOW)
        self.assertEqual((material.chain, material.key, material.not_after), ((), None, None))

    def test_one_file_for_both(self) -> None:
        """Certificate and key may stand in the same text, in any order."""
        assert GOOD.certificate is not None and GOOD.key is not None
        for both in (GOOD.certificate + GOOD.key, GOOD.key + GOOD.certificate):
            replace(GOOD, certificate=both, key=both).read().check(NOW)

    def test_halves(self) -> None:
        """What was written by half is refused, wherever it was cut: a chain that lost its last one, too."""
        assert GOOD.certificate is not None and GOOD.key is not None
        chain = GOOD.certificate + (GOOD.authorities or b"")
        for cut in (30, len(GOOD.certificate) // 2, len(GOOD.certificate) - 3, len(chain) - 40):
            self.assertIn("ends within a certificate", self.trouble(replace(GOOD, certificate=chain[:cut])))
        for cut in (0, 20, len(GOOD.key) // 2, len(GOOD.key) - 5):
            self.assertIn("no whole private key", self.trouble(replace(GOOD, key=GOOD.key[:cut])))
        self.assertIn("has no certificate", self.trouble(replace(GOOD, certificate=b"")))

    def test_rubbish(self) -> None:
        """So is what has the frame of PEM and something else in it."""
        assert GOOD.certificate is not None
        middle = len(GOOD.certificate) // 2
        broken = GOOD.certificate[:middle] + b"AAAA" + GOOD.certificate[middle + 4 :]
        empty = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        self.assertIn("certificate that cannot be read", self.trouble(replace(GOOD, certificate=empty)))
        with self.assertRaises(BadCertificate):
            replace(GOOD, certificate=broken, key=OTHER.key).read().check(NOW)
        key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        self.assertIn("private key that cannot be read", self.trouble(replace(GOOD, key=key)))

    def test_a_passphrase(self) -> None:
        """A key with a passphrase cannot be used: nobody is there to type it."""
        key = generate_private_key(SECP256R1())
        locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        self.assertIn("passphrase", self.trouble(replace(GOOD, key=locked)))

    def test_a_pair_that_is_none(self) -> None:
        """The key of another certificate."""
        self.assertIn("does not belong to the key", self.trouble(replace(GOOD, key=OTHER.key)))

    def test_one_without_the_other(self) -> None:
        """A certificate without key, a key without certificate."""
        self.assertIn("key is missing", self.trouble(replace(GOOD, key=None)))
        self.assertIn("certificate is missing", self.trouble(replace(GOOD, certificate=None)))

    def test_out_of_its_time(self) -> None:
        """Expired, and not valid yet, with the date."""
        self.assertIn("has expired on 2020-01-01", self.trouble(pem("x", valid=LONG_AGO)))
        self.assertIn("not valid before 2800-01-01", self.trouble(pem("x", valid=IN_FUTURE)))
        self.assertIn("has expired", self.trouble(GOOD, wall=GOOD.read().not_after or 0.0))

    def test_digest(self) -> None:
        """Of the content: each part counts, and a key leaves no trace in ``repr``."""
        others = [OTHER, replace(GOOD, key=None), replace(GOOD, authorities=None), replace(GOOD, authorities=b"")]
        self.assertEqual(len({one.digest() for one in (GOOD, *others)}), 5)
        self.assertEqual(GOOD.digest(), replace(GOOD).digest())
        self.assertEqual(GOOD.read().digest(), GOOD.read().digest())
        self.assertNotEqual(GOOD.read().digest(), OTHER.read().digest())
        self.assertNotIn("PRIVATE", repr(GOOD))
        self.assertNotIn("key=", repr(GOOD.read()))


class FileTests(MaterialCase):
    """From files."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hb-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name: str, data: bytes | None) -> str:
        """A file; its path."""
        (self.folder / name).write_bytes(data or b"")
        return str(self.folder / name)

    def test_read_each_time(self) -> None:
        """The provider gives what is there when it is asked."""
        read = pem_files(self.write("c", GOOD.certificate), self.write("k", GOOD.key))
        first = read()
        self.write("c", OTHER.certificate)
        self.write("k", OTHER.key)
        self.assertNotEqual(first.digest(), read().digest())
        read().read().check(NOW)

    def test_mounted_secrets(self) -> None:
        """A link to a folder that is swapped, as kubelet does it, gives the new content under the same paths."""
        for number, one in enumerate((GOOD, OTHER)):
            (self.folder / f"v{number}").mkdir()
            self.write(f"v{number}/tls.crt", one.certificate)
            self.write(f"v{number}/tls.key", one.key)
        data = self.folder / "..data"
        data.symlink_to("v0")
        for name in ("tls.crt", "tls.key"):
            (self.folder / name).symlink_to(Path("..data", name))
        read = pem_files(str(self.folder / "tls.crt"), str(self.folder / "tls.key"))
        before = read()
        (self.folder / "..new").symlink_to("v1")
        (self.folder / "..new").replace(data)
        self.assertEqual((before.certificate, read().certificate), (GOOD.certificate, OTHER.certificate))

    def test_what_cannot_be_read(self) -> None:
        """A file that is not there, a folder, one that is far too long: each with the name that its user knows."""
        self.write("long", b"x" * (MOST_BYTES + 1))
        for name, words in (("none", "No such file"), ("", "regular file"), ("long", "longer than")):
            path = str(self.folder / name)
            failed = self.assertRaises(BadCertificate, pem_files(path, names=(f"--tls-cert {path}", "k", "a")))
            self.assertTrue(str(failed).startswith(f"--tls-cert {path} "), failed)
            self.assertIn(words, str(failed))


class PinTests(SynchronousTestCase):
    """Pins."""

    def test_of_a_certificate(self) -> None:
        """A pin is that of the key, whoever signed: a certificate that was renewed with the same key still fits."""
        one, other = GOOD.read(), OTHER.read()
        pins = Pins((pin_of(one.chain[0]),))
        self.assertTrue(pins.fit(one.chain[0]))
        self.assertFalse(pins.fit(other.chain[0]))
        self.assertFalse(pins.fit(None))
        renewed = x509.CertificateBuilder(
            issuer_name=one.chain[0].subject,
            subject_name=one.chain[0].subject,
            public_key=one.key.public_key(),
            serial_number=7,
            not_valid_before=one.chain[0].not_valid_before_utc,
            not_valid_after=one.chain[0].not_valid_after_utc,
        ).sign(one.key, hashes.SHA256())
        self.assertTrue(pins.fit(renewed))
        self.assertTrue(Pins((pin_of(other.chain[0]), pin_of(one.chain[0]))).fit(renewed))

    def test_as_it_is_known(self) -> None:
        """The same as ``openssl x509 -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256`` gives."""
        # Of the certificate of example.com's key in RFC 7469's appendix there is none; this is the pin of a known key.
        self.assertEqual(read_pin("--pin", "sha256/" + "A" * 43 + "="), "sha256/" + "A" * 43 + "=")

    def test_badly_written(self) -> None:
        """Another digest, another length, no base64: named, with what was written."""
        for text in ("sha1/AAAA", "sha256/AAAA", "sha256/" + "!" * 44, "A" * 43 + "=", "", 7, None):
            failed = self.assertRaises(ConfigError, read_pin, "--pin", text)
            self.assertIn(repr(text)[:60], str(failed))
        self.assertRaises(ConfigError, Pins, ())
        self.assertRaises(ConfigError, Pins, "sha256/" + "A" * 43 + "=")
        failed = self.assertRaises(ConfigError, Pins, ("sha256/" + "A" * 43 + "=",), "shout")
        self.assertIn("refuse, alarm, degrade", str(failed))


class NameTests(SynchronousTestCase):
    """The names that a certificate proves."""

    def names(self, *names: x509.GeneralName) -> tuple[str, ...]:
        """Of a certificate with these."""
        key = generate_private_key(SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "common.example")])
        chain = GOOD.read().chain[0]
        builder = x509.CertificateBuilder(
            subject, subject, key.public_key(), 7, chain.not_valid_before_utc, chain.not_valid_after_utc
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return names_of(builder.sign(key, hashes.SHA256()))

    def test_each_kind(self) -> None:
        """dNSName, URI and iPAddress, in their order; DNS in lower case, URIs as they are; others are none."""
        import ipaddress

        self.assertEqual(
            self.names(
                x509.DNSName("Gateway-7.Example"),
                x509.UniformResourceIdentifier("spiffe://mesh/NS/a"),
                x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
                x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
                x509.RFC822Name("a@example.com"),
                x509.DNSName("gateway-7.example"),
            ),
            ("gateway-7.example", "spiffe://mesh/NS/a", "192.0.2.7", "2001:db8::1"),
        )

    def test_wildcards(self) -> None:
        """A wildcard names nobody."""
        self.assertEqual(self.names(x509.DNSName("*.example"), x509.DNSName("a.example")), ("a.example",))

    def test_no_names(self) -> None:
        """The common name proves nothing."""
        self.assertEqual(self.names(), ())

    def test_what_can_be_no_id(self) -> None:
        """A name that begins as addresses of bare peers do, that is too long, or that breaks a line, is left out."""
        for name in ("~a", "x" * 256, "a\nb"):
            self.assertEqual(self.names(x509.UniformResourceIdentifier(name)), (), name)
