"""StackDuck: how its jobs become tasks and its answers are worded. Facts are those of the crate stackduck 0.1.3."""
