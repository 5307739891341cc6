"""What runs as PID 1 inside a guest; standard library only."""
