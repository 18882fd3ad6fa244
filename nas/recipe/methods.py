"""The methods of a training, looked up in the table of parts by the names in its settings."""

from __future__ import annotations

from nas.parts import Parts
from supernets.training.methods import Methods
from supernets.training.schedule import TrainingSettings

KINDS = ("quantizer", "schedule", "sampler", "teacher", "divergence", "mix")
"""The kinds of parts of which a training has one each; settings have a key of the same name."""


def methods_of(settings: TrainingSettings) -> Methods:
    """The methods that `settings` names.

    Raises:
        PartError: There is no such part, or it cannot be loaded.
    """
    single = {kind: Parts(kind)[getattr(settings, kind)] for kind in KINDS}
    callbacks = Parts("callback")
    return Methods(**single, callbacks={name: callbacks[name] for name in settings.callbacks})


def require_known(settings: TrainingSettings) -> None:
    """Raise `PartError` if `settings` names a part that is not in the table; imports none."""
    for kind in KINDS:
        Parts(kind).entry(getattr(settings, kind))
    for name in settings.callbacks:
        Parts("callback").entry(name)
