"""Rules about the source itself, kept by tests: sizes, words, libraries, documents."""
