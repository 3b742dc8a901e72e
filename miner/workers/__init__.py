"""Worker processes: what owns the GPU and does the jobs, and what keeps it alive from outside."""
