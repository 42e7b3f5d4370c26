"""What goes wrong in the development tool, each error with the way out; `t2i-dev` prints them without a traceback."""


class DevelopmentError(Exception):
    """Base of every error that a user can do something about."""


class MissingRequirementError(DevelopmentError):
    """The machine lacks something that no build can add: a program, a privilege, an operating system."""


class ToolBuildError(DevelopmentError):
    """A Go module of tools did not build."""


class ComponentFailedError(DevelopmentError):
    """A process that should be serving died or never became ready."""


class ImageBuildError(DevelopmentError):
    """A container image could not be built or imported."""


class ClusterStateError(DevelopmentError):
    """The recorded state of a cluster forbids what was asked for."""
