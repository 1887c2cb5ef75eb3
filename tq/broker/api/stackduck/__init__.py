"""`stackduck.StackDuckService` on whatever backend runs; the words and numbers are in `compat/stackduck`."""
