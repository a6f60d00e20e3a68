"""``twist heartbeat-server``: accepts heartbeats, keeps the board of who is alive, and shows it on the web."""
