"""The tests mirror heartbeat/; those that need sockets, processes or real time are in real/ and benchmarks/."""
