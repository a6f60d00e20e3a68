"""TLS: certificates, pins, and what ties a shared key to one connection."""
