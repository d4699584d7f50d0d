"""`python -m worker`: the same command as `polycopy-worker`."""

from worker.cli import main

main()
