"""One training step and the loop around it: loader, device, optimizer, parallelism. Knows neither Ray nor storage."""
