"""What is known of all peers together: who is there, who failed and why, and how much was counted."""
