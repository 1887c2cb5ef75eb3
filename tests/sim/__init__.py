"""A cluster in one process: virtual time, simulated network and disks, real consensus, engine parts and machine.

Everything that happens follows from a seed. `world` is time and chance, `network`, `disk` and `loop` are what a
process sees of the outside, `schedule` says which faults happen when, `nemesis` lets them happen, `cluster` keeps
the nodes, `workload` gives them work, `invariants` and `checker` say what must hold, `run` is one run of it all,
`shrink` and `campaign` are many. `python -m tests.sim --help`.

Of production, it is the core and all below it, journal, codec, the engine's parts and the machine that run here, and
the rules of who is let in (`members`). What stands in for production: the loop that drives the core (`hardened`), the
database under the journal (`database`: atomic batches, a witness that may be old), store and snapshots in memory, and
the network. `ablations` takes the mitigations away one by one, and something must notice each time.
"""
