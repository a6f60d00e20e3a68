"""Whole stories in virtual time: real factories and services on the simulated network."""
