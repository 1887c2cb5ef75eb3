"""A cluster in one process: virtual time, simulated network and disks, real consensus, engine parts and machine.

Everything that happens follows from a seed. `world` is time and chance, `network`, `disk` and `loop` are what a
process sees of the outside, `schedule` says which faults happen when, `nemesis` lets them happen, `cluster` keeps
the nodes, `workload` gives them work, `invariants` and `checker` say what must hold, `run` is one run of it all,
`shrink` and `campaign` are many. `python -m tests.sim --help`.
"""
