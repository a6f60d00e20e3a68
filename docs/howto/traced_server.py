"""A server in a program of your own, whose connections are traced by the provider that the program has."""

from __future__ import annotations

from opentelemetry import trace

from heartbeat import HeartbeatConfig
from heartbeat.net import HeartbeatFactory
from heartbeat.watch.export.tracing import Traces

factory = HeartbeatFactory(HeartbeatConfig())
traces = Traces(trace.get_tracer("my.server"), factory.wheel.clocks, connector=False, beats=0.01)
factory.tracing = traces  # begins them, so that our HELLO names them
factory.listener = traces  # ends them; other listeners go with it into heartbeat.watch.listeners.Listeners
