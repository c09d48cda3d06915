"""A storm: all that callers, a target, receivers and the machine can do to a Foreman, at once and by a seed.

`target.py` serves, `callers.py` and `weather.py` are what goes on, `witness.py` says what was promised. Longer by hand:
`pytest tests/e2e/storm --storm-seconds 600 --storm-seed 7`.
"""
