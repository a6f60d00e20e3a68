"""Tests of heartbeat.watch.export."""
