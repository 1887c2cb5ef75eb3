"""The backend on StackDuck's stores, on real servers."""
