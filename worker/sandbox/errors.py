"""What can go wrong in the sandbox itself, as opposed to what it makes go wrong on purpose."""


class SandboxError(RuntimeError):
    """The sandbox cannot do what was asked; the message is one sentence with the cure, where there is one."""


class ProcessError(SandboxError):
    """A child process ended or stalled; the message carries the last lines it printed."""
