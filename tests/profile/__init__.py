"""Where the processor time of a call goes, part by part: `python -m tests.profile`."""
