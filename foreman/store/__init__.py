"""The store: jobs, artifacts, events and deliveries on disk. All SQL lives here."""
