"""Tests of heartbeat.watch.stores."""
