"""Dacapo and the engines that it replaces, side by side on one Postgres, in one run."""
