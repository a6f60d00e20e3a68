"""Tests of heartbeat.session."""
