"""The store: jobs, artifacts, events and deliveries on disk. SQL lives here and nowhere else."""
