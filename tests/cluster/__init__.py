"""Real brokers in clusters of three and five, under real faults, held to everything they acknowledged.

`python -m tests.cluster.chaos --minutes N` is the campaign, `test_chaos` its short form. The simulator (`tests.sim`)
tries more schedules in an hour than this does in a week; this shows that what it simulates is what runs: processes,
sockets, disks, clocks, clients and workers as people start them.
"""
