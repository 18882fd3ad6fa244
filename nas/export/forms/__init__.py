"""The forms in which a chosen subnet can be exported, by their names in recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.export.containers import ExportError
from nas.export.form import Exporter
from nas.parts import Parts
from nas.targets.saturation import EightBitWeights

FORMS: Mapping[str, Exporter] = Parts("export-form")
"""Name of a form -> the form."""


def forms_for(
    names: Sequence[str], *, eight_bit_weights: EightBitWeights = "unsigned"
) -> tuple[Exporter, ...]:
    """The forms called `names`.

    Args:
        names: The names in a recipe.
        eight_bit_weights: The form of 8-bit weights of the target, as in `export_onnx`.

    Raises:
        PartError: If there is no form of a name.
        ExportError: If a package is missing, with the remedy.
    """
    found = tuple(FORMS[name].suited(eight_bit_weights) for name in names)
    for form in found:
        form.require()
    return found


def form_of(path: str | Path) -> Exporter:
    """The form of an exported file, from the suffix of its name.

    Raises:
        ExportError: If no form has this suffix.
    """
    suffix = Path(path).suffix
    for form in FORMS.values():
        if form.suffix == suffix:
            return form
    known = ", ".join(form.suffix for form in FORMS.values())
    raise ExportError(f"{path} ends in no suffix of an exported file; known are {known}")
