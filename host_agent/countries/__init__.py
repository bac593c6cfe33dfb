"""Which addresses are in which country: sources, tried in order, and the copies kept of them. See docs/countries.md."""
