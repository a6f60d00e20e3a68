"""Tests of heartbeat.watch.web."""
