"""The queue: the single writer of jobs, and the commands it takes."""
