"""The commands, one function each; its docstring is its help."""
