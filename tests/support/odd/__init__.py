"""An odd inference server: it answers as real servers were seen to, not as the documentation has it.

The name of a model is the name of a scenario. `server.py` serves; `scenario.py` says what a scenario is; the other
modules are tables of them, each with the oddities of one kind. `python -m tests.support.odd PORT` serves by hand.
"""
