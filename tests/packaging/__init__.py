"""What is shipped, and the rules of the house that a program can check."""
