"""The policy document in force: read, judged, changed."""
