"""The sandbox's errors. A command prints their message in one line instead of a traceback.

SandboxError
├── MissingDependencyError   a program is not installed, or not usable
├── NotReadyError            a program did not become ready in time, or exited
├── PortInUseError           another process listens on the port
├── NotRunningError          no sandbox runs in the directory
├── AlreadyRunningError      a sandbox runs in the directory already
├── RequestRefusedError      the running sandbox refused a request
└── CommandFailedError       a command was refused or failed
"""


class SandboxError(Exception):
    """Base of all errors that a person can do something about."""


class MissingDependencyError(SandboxError):
    """A program was not found or is not usable; the message says what to do."""


class NotReadyError(SandboxError):
    """A program did not become ready in time, or exited. The message ends with the end of its log."""


class PortInUseError(SandboxError):
    """Another process listens on a port."""


class NotRunningError(SandboxError):
    """No sandbox runs in this directory."""


class AlreadyRunningError(SandboxError):
    """A sandbox already runs in this directory."""


class RequestRefusedError(SandboxError):
    """A request that the sandbox cannot carry out now."""


class CommandFailedError(SandboxError):
    """A command was refused, or its effect did not occur."""
