"""The model: what a detector looks at, the graph that scores, and how both are learned from healthy cars."""
