"""Open-loop evaluation: metrics as pure functions, predictions over recorded episodes, baselines, plots and the summary.

May import everything up to `dataset` and `video` and the model; nothing but `evaluate.fanout` knows Ray.
"""
