"""A run's data in storage: its folder, its checkpoints, and the thread that saves them.

May import `order` and `step`, never Ray; stages and evaluate read runs through it.
"""
