"""Tests of the simulator: what others test with must itself be beyond doubt."""
