"""What pysyncobj 0.3.17 does wrong, one deterministic script each, beside what tq does in the same place.

The tests on the bare library assert the defect: one that stops failing there means that the library has changed, and
the audit has to be done again. Numbers t1 ... t23 are those of the audit.
"""
