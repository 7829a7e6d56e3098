"""The job status API."""
