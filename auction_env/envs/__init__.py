"""What environments play and how: single, vector and parallel, over the live market or any other kind."""
