"""The job model, pure: outcomes in blocks, jobs, and what readers are shown of them."""
