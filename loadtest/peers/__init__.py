"""Others' programs, and how they are set up to carry the benchmark's load."""
