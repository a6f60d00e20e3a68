"""Tests of the commands: options, config file, logs, host, services."""
