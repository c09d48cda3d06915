"""The rules of jobs as pure code: no I/O, no Trio, no clock."""
