"""Tests of heartbeat.probes."""
