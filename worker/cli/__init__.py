"""The front door: one function per verb, no logic. stdout is data, stderr is talk, exit codes are a contract."""

from worker.cli import reads, switches, verbs, web
from worker.cli.door import app, main

__all__ = ["app", "main", "reads", "switches", "verbs", "web"]
