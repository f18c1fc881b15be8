"""The first worker's additional tasks: checkpoints, trackers, reports to the launcher, stop requests.

May import all of `train` except `ray` and `worker`; `worker` imports it.
"""
