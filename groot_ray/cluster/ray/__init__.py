"""Ray clusters from outside: the job API over HTTP, driver logs, and the three kinds of clusters. Imports no Ray."""
