"""What may go wrong around Foreman and within it, done to a real one."""
