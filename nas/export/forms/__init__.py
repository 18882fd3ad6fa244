"""The forms in which a chosen subnet can be exported, by their names in recipes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.export.containers import ExportError
from nas.export.form import Exporter
from nas.export.forms.executorch_pte import ExecuTorchForm
from nas.export.forms.onnx import OnnxForm
from nas.export.forms.openvino_ir import OpenVinoForm
from nas.export.forms.plain import PlainForm
from nas.export.forms.program import ProgramForm
from nas.saturation import EightBitWeights

FORMS: dict[str, Exporter] = {
    form.name: form
    for form in (OnnxForm(), PlainForm(), ProgramForm(), OpenVinoForm(), ExecuTorchForm())
}


def forms_for(
    names: Sequence[str], *, eight_bit_weights: EightBitWeights = "unsigned"
) -> tuple[Exporter, ...]:
    """The forms called `names`.

    Args:
        names: The names in a recipe.
        eight_bit_weights: The form of 8-bit weights of the target, as in `export_onnx`.

    Raises:
        ExportError: If a name is unknown, or a package is missing, with the remedy.
    """
    unknown = sorted(set(names) - set(FORMS))
    if unknown:
        raise ExportError(f"there is no export format {unknown[0]!r}; known are {', '.join(FORMS)}")
    forms = {**FORMS, OnnxForm.name: OnnxForm(eight_bit_weights)}
    found = tuple(forms[name] for name in names)
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
