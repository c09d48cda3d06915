"""Pictures of every view of the page and of sessions in the terminal, for the documentation."""
