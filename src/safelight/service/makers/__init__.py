"""What jobs are made by: one file a task. Knows no row, no lease and no fence; the worker keeps those."""
