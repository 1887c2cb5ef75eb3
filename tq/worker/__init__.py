"""Running tasks: the `App` that names them and the worker that serves them."""
