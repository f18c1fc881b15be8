"""Open-loop evaluation: metrics as pure functions, predictions over recorded episodes, baselines, plots and summaries.

Built on `policy`; it reads what `train` records in checkpoints. Only stages, cluster and cli import it, and only
`evaluate.fanout` imports Ray.
"""
