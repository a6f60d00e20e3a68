"""The judge and what it needs: pure, without frames, sockets or clocks."""
