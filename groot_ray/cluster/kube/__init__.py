"""A release in the Kubernetes API: requests, events, the settings of its stages, and advice for people.

All of `cluster` may import it; it imports no Ray code.
"""
