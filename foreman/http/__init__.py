"""The HTTP actor: routes that read, ask and show."""
