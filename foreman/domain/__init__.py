"""The rules of jobs, pure: no I/O, no Trio, no clock."""
