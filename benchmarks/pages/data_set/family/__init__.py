"""The page of a task family: sizes, relations, distances, harm, which source helps."""
