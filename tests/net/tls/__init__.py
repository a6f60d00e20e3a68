"""TLS: certificates, pins, reasons, links, and handshakes that take their time."""
