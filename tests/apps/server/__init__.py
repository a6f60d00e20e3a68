"""Tests of ``twist heartbeat-server``: the composition, the demo, the drain."""
