"""A long run of mixed load: memory, descriptors and threads must stay where they were."""
