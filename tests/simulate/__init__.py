"""Replay of a trace through the program against modelled servers, in virtual time: `python -m tests.simulate`."""
