"""Conversion of a robot's recordings to GR00T's layout: one episode as a pure function, the Ray Data pipeline and its ledger around it.

Imports `dataset`, `video`, `statistics` and what they may import; only `pipeline` imports Ray, and only when it runs."""
