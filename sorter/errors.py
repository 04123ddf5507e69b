"""Every error a user can cause, in one tree, an exit code each.

    SorterError                   1   the root; never raised itself
    ├── UsageError                2   the command line asks for something impossible
    │   └── TaxonomyError         2   a taxonomy file that cannot be used
    ├── ImageError                1   one picture cannot be read; a row, never the end of a run
    ├── ModelError                3   no usable model
    │   ├── BundleError           3   a bundle is missing, damaged or of another kind
    │   ├── ExportError           3   a conversion refused (parity, accuracy drop)
    │   └── TeachError            3   a teaching refused: what was known would be lost
    ├── ActuatorError             4   the device or the line to it
    │   ├── PortError             4   the port is missing, busy, forbidden or gone
    │   └── HandshakeError        4   something answers, but not as the device expected
    └── EnvironmentFault          5   the machine around us
        ├── FolderError           5   a folder is missing, not a folder, or forbidden
        ├── DataError             5   labelled data that cannot be trained or evaluated on
        ├── JournalError          5   the journal cannot be opened or written
        ├── BrokerError           5   an MQTT broker is away or wants nothing of us; never the end
        └── MissingExtraError     5   an optional part is not installed; says how to install it

Foreign errors are translated exactly once, in the module that owns the library. The command line
turns a SorterError into one line on stderr and its exit code; anything else is a bug and keeps
its traceback.
"""

from __future__ import annotations


class SorterError(Exception):
    """Root of the tree. The message is one line that says what, where and what to do."""

    exit_code = 1


class UsageError(SorterError):
    """The command line asks for something impossible."""

    exit_code = 2


class TaxonomyError(UsageError):
    """A taxonomy file that cannot be used."""


class ImageError(SorterError):
    """One picture cannot be read. Never ends a batch or a station."""

    exit_code = 1


class ModelError(SorterError):
    """No usable model."""

    exit_code = 3


class BundleError(ModelError):
    """A bundle is missing, damaged or of another kind."""


class ExportError(ModelError):
    """A conversion refused: torch and IR disagree, or INT8 loses too much."""


class TeachError(ModelError):
    """A teaching refused: what was known would be lost."""


class ActuatorError(SorterError):
    """The device or the line to it."""

    exit_code = 4


class PortError(ActuatorError):
    """The port is missing, busy, forbidden or gone."""


class HandshakeError(ActuatorError):
    """Something answers, but not as the device expected."""


class EnvironmentFault(SorterError):  # noqa: N818 - EnvironmentError is a builtin.
    """The machine around us: folders, permissions, disk, missing parts."""

    exit_code = 5


class FolderError(EnvironmentFault):
    """A folder is missing, not a folder, or forbidden."""


class DataError(EnvironmentFault):
    """Labelled data that cannot be trained or evaluated on."""


class JournalError(EnvironmentFault):
    """The journal cannot be opened or written."""


class BrokerError(EnvironmentFault):
    """An MQTT broker is away, or refuses us. Tried again; never ends a station."""


class MissingExtraError(EnvironmentFault):
    """An optional part is not installed; the message says how to install it."""
