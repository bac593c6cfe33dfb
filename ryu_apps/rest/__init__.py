"""The REST interface, the page and the metrics."""
