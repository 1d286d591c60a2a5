"""Layer 7: whole runs, a room per kind of run."""
