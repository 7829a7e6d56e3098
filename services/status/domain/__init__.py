"""The job model, pure: facts, letters, blocks, jobs, and what a reader is shown of them."""
