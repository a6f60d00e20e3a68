"""What a beat costs, side by side with what others cost, in one run.

Run from the project's directory::

    python -m tests.benchmarks                  all of them: about fifteen minutes
    python -m tests.benchmarks.beat             CPU per beat of the server, and per round trip of its own questions
    python -m tests.benchmarks.secure           CPU per beat over TLS, signed over TLS, and sealed without
    python -m tests.benchmarks.memory           memory per idle connection
    python -m tests.benchmarks.wheel            scheduling a beat, garbage and allocated blocks

Each takes ``--small`` (seconds, to see that it works) and prints tables of medians with the ratio to its comparison,
and the bar that it is measured against. A bar is printed, never enforced: a time is not a pass mark.

What is measured is a real server process, ``twist heartbeat-server`` as users run it, pinned to a core of its own,
by the CPU that the kernel charged to it. The comparisons (:mod:`tests.benchmarks.comparisons`) run the same way, take
turns with it in several rounds, and are driven by the same load (:mod:`tests.benchmarks.load`) from the other core.
A comparison whose package is missing is left out with its reason.
"""
