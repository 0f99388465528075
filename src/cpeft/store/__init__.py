"""What is kept of runs: their folders, results and claims, read and written without torch."""
