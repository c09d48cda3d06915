"""The command handlers: they decide with pure functions and write through the store, on the queue actor's thread."""
