"""Studies: a study file → runs (each a process of its own) → tables and a report."""
