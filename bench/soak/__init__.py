"""Dacapo at work for a long time: what grows, what slows down, and what a snapshot that somebody holds open does to both."""
