"""The commands: ``twist heartbeat-server``, ``twist heartbeat-agent``. They introduce the rooms to each other."""
