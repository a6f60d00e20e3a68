"""Tests of heartbeat.watch."""
