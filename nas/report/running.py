"""The section of the report about exported files: what goes in, what comes out, the call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nas.report import text
from nas.report.data import Results
from nas.report.markup import Markup, tag
from nas.report.subnets import Chosen, ExportedFile

PREDICT = "predict.py"  # the script that a run writes beside its ONNX files
_TOLD = 4  # means or names that are told; of more the first ones, and the number

# One line of Python per form that is shipped; the forms of a user's own have none.
_CALLS = {
    "onnx": "onnxruntime.InferenceSession({path!r}).run(None, {{{fed}}})",
    "torch": "sys.path.insert(0, {path!r}); from model import load; load()({listed})",
    "torch-export": "torch.export.load({path!r}).module()({listed})",
    "openvino": (
        "openvino.compile_model({path!r} + '/model.xml', 'CPU', "
        "{{'INFERENCE_PRECISION_HINT': 'f32'}})({{{fed}}})"
    ),
    "executorch": (
        "Runtime.get().load_program({path!r}).load_method('forward').execute([{listed}])"
    ),
}


def using_files(results: Results) -> Markup:
    """The section on what every exported file reads and answers; empty without such a file."""
    usage, made = results.usage, [t.chosen for t in results.targets if t.chosen]
    if not usage or not any(chosen.files for chosen in made):
        return Markup()
    inputs: Mapping[str, Mapping[str, Any]] = _mapping(usage["inputs"])
    ports = {**inputs, "output": _mapping(usage["output"])}
    return tag(
        "section",
        [
            tag("h2", "Using the files", id="files"),
            tag(
                "p",
                "All files of this run read and answer the same. Numbers that are prepared "
                "otherwise than stated here give wrong answers without an error. What is cut off "
                "here is whole in results.json, under usage, and in the files.",
            ),
            tag("ul", [tag("li", _port(name, facts)) for name, facts in ports.items()]),
            *_script(made),
            tag("h3", "In a program of your own"),
            tag("pre", _program(made, inputs)),
        ],
    )


def _mapping(facts: Any) -> Mapping[str, Any]:
    return facts if isinstance(facts, Mapping) else {}


def _port(name: str, facts: Mapping[str, Any]) -> list[str]:
    """What an input or the output is, in one item of a list."""
    axes = (f"{axis} {length}" for axis, length in zip(facts["axes"], facts["shape"], strict=True))
    named = f" In order: {_few(facts['names'])}." if facts.get("names") else ""
    numbers = f" {text.capital('; '.join(_numbers(facts)))}." if {*_numbers(facts)} else ""
    batch = f": ({', '.join(['batch', *axes])}), {facts['dtype']}. {facts['about']}"
    return [tag("code", name), f"{batch}{named}{numbers}"]


def _numbers(facts: Mapping[str, Any]) -> Iterator[str]:
    """The scaling, the range in training and the unit, as far as a port has them."""
    if "mean" in facts:
        known = (f"{k} {_few([text.significant(v, 4) for v in facts[k]])}" for k in ("mean", "std"))
        yield f"{facts['rule']} with {text.listed(known)}"
    if facts.get("low"):
        low, high = min(facts["low"]), max(facts["high"])
        yield f"raw numbers were {low:.4g} to {high:.4g} in training"
    if facts.get("unit"):
        yield f"unit {facts['unit']}"


def _few(items: Sequence[object]) -> str:
    more = f" ... ({len(items):,} in all)" if len(items) > _TOLD else ""
    return ", ".join(map(str, items[:_TOLD])) + more


def _script(made: Sequence[Chosen]) -> Iterator[Markup]:
    """A paragraph on the script that runs ONNX files, where the run has such a file."""
    paths = [file.path for chosen in made for file in chosen.files if file.path.endswith(".onnx")]
    if paths:
        call = tag("code", f"python {PREDICT} {paths[0]} samples.npy")
        words = " asks the file about raw samples and prepares them; beside numpy and onnxruntime"
        yield tag("p", [call, f"{words} nothing is needed."])


def _program(made: Sequence[Chosen], inputs: Mapping[str, Mapping[str, Any]]) -> str:
    """Lines of Python: the preparation of every input, and a call per form of the first subnet."""
    prepared = [
        f"{name} = {_prepared(facts)}.astype({facts['dtype']!r})"
        f"  # ({', '.join(['batch', *map(str, facts['shape'])])}){_along(facts)}"
        for name, facts in inputs.items()
    ]
    files = next(chosen.files for chosen in made if chosen.files)
    return "\n".join([*prepared, *(call for file in files if (call := _call(file, inputs)))])


def _prepared(facts: Mapping[str, Any]) -> str:
    return f"({facts['rule']})" if "mean" in facts else "raw"


def _along(facts: Mapping[str, Any]) -> str:
    """Along which axis of a sample there are several means, as a comment."""
    several = len(facts.get("mean", ())) > 1
    return f"; mean and std along the axis {facts['axes'][facts['axis']]}" if several else ""


def _call(file: ExportedFile, inputs: Mapping[str, Mapping[str, Any]]) -> str:
    """A line that runs a file; empty for a form of a user's own."""
    template = _CALLS.get(file.form, "")
    return template.format(
        path=file.path,
        fed=", ".join(f"{name!r}: {name}" for name in inputs),
        listed=", ".join(f"torch.from_numpy({name})" for name in inputs),
    )
