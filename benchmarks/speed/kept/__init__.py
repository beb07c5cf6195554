"""What is kept of speed figures: the history of runs, and the measurements of a run that is not finished."""
