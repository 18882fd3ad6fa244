"""The table of named parts: everything that a recipe or the command line refers to by its name.

A part has a kind and a name. The shipped parts are listed below as `module:attribute` and are
imported when they are asked for. A module of a user adds parts with `register`. An installed
package adds parts with entry points of the group `elastic_nas.parts`, which are called
`KIND.NAME`, such as `"searcher.mine" = "mine.search:make"`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, TypeVar

GROUP = "elastic_nas.parts"
Made = TypeVar("Made")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

SHIPPED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "operator": {},  # an operator is known by its class
        "space": {
            "residual": "search_spaces.residual:residual",
            "mobilenet": "search_spaces.mobilenet:mobilenet",
            "mlp": "search_spaces.mlp:mlp",
            "super-resolution": "search_spaces.super_resolution:super_resolution",
            "transformer-encoder": "search_spaces.transformer_encoder:transformer_encoder",
            "language-model": "search_spaces.language_model:language_model",
            "file": "search_spaces.saved:saved",
        },
        "task": {
            "digits": "nas.tasks.digits:DigitsTask",
            "diabetes": "nas.tasks.diabetes:DiabetesTask",
            "arrays": "nas.tasks.arrays:ArraysTask",
            "features": "nas.tasks.feature_table:FeaturesTask",
            "folder": "nas.tasks.image_folder:FolderTask",
            "openml": "nas.tasks.openml:OpenMLTask",
            "text-classification": "nas.tasks.text_classification:TextClassificationTask",
            "next-token": "nas.tasks.next_token:NextTokenTask",
            "image-pairs": "nas.tasks.image_pairs:ImagePairsTask",
        },
        "criterion": {
            "classification": "nas.tasks.criteria.classification:Classification",
            "regression": "nas.tasks.criteria.regression:Regression",
            "token-prediction": "nas.tasks.criteria.token_prediction:TokenPrediction",
            "pixels": "nas.tasks.criteria.pixels:Pixels",
        },
        "searcher": {
            "guided": "nas.search.guided:guided",
            "random": "nas.search.random:random",
            "nsga2": "nas.search.evolution:nsga2",
            "nsga3": "nas.search.evolution:nsga3",
            "sms-emoa": "nas.search.evolution:sms_emoa",
            "age-moea": "nas.search.evolution:age_moea",
            "r-nsga2": "nas.search.evolution:r_nsga2",
            "regularized": "nas.search.regularized:regularized",
            "local": "nas.search.local:local",
            "linas": "nas.search.linas:linas",
            "boshnas": "nas.search.boshnas:boshnas",
            "policy-gradient": "nas.search.policy_gradient:policy_gradient",
            "differentiable": "nas.search.differentiable:differentiable",
            "optuna-tpe": "nas.search.samplers:tpe",
            "optuna-tpe-multivariate": "nas.search.samplers:tpe_multivariate",
            "optuna-nsga2": "nas.search.samplers:nsga2",
        },
        "quantizer": {
            "lsq": "supernets.quantizers.learned_steps:LearnedSteps",
            "double-rounding": "supernets.quantizers.double_rounding:DoubleRounding",
            "statsq": "supernets.quantizers.statistical:StatisticalScales",
        },
        "schedule": {
            "cosine": "supernets.training.rates:cosine",
            "cooldown": "supernets.training.rates:cooldown",
        },
        "sampler": {
            "sandwich": "supernets.training.samplers.sandwich:UniformSandwich",
            "hasb": "supernets.training.samplers.hasb:HessianAware",
            "complexity": "supernets.training.samplers.complexity:ComplexityAware",
            "attentive": "supernets.training.samplers.attentive:AttentiveBest",
            "attentive-worst": "supernets.training.samplers.attentive:AttentiveWorst",
            "bit-freezing": "supernets.training.samplers.bit_freezing:BitFreezing",
            "single-path": "supernets.training.samplers.single_path:SinglePath",
        },
        "teacher": {
            "largest": "supernets.training.students.teachers:largest",
            "recursive": "supernets.training.students.teachers:recursive",
            "guided": "supernets.training.students.teachers:guided",
        },
        "divergence": {
            "task": "supernets.training.students.divergences:task_distance",
            "alpha": "supernets.training.students.alpha:alpha",
            "balanced": "supernets.training.students.balanced:balanced",
        },
        "mix": {
            "constant": "supernets.training.students.mixes:constant",
            "rising": "supernets.training.students.mixes:rising",
            "by-cost": "supernets.training.students.mixes:by_cost",
        },
        "callback": {
            "ema": "supernets.training.callbacks.ema:ExponentialAverage",
            "soup": "supernets.training.callbacks.soup:UniformSoup",
            "dampening": "supernets.training.callbacks.dampening:Dampening",
            "freezing": "supernets.training.callbacks.freezing:Freezing",
            "annealing": "supernets.training.callbacks.annealing:Annealing",
            "conflict-freezing": (
                "supernets.training.callbacks.conflict_freezing:ConflictFreezing"
            ),
            "weight-distribution": (
                "supernets.training.callbacks.weight_distribution:WeightDistribution"
            ),
            "features": "supernets.training.callbacks.features:Features",
            "alrs": "supernets.training.callbacks.alrs:AdaptiveRates",
        },
        "predictor": {
            "gaussian": "predictors.gaussian:gaussian",
            "ridge": "predictors.ridge:ridge",
            "ensemble": "predictors.ensemble:ensemble",
        },
        "proxy": {
            "counts": "predictors.proxies.counts:COUNTS",
            "gradients": "predictors.proxies.gradients:GRADIENTS",
            "synflow": "predictors.proxies.synflow:SYNFLOW",
            "naswot": "predictors.proxies.naswot:NASWOT",
            "jacob-cov": "predictors.proxies.jacobian:JACOB_COV",
        },
        "export-form": {
            "onnx": "nas.export.forms.onnx:ONNX",
            "torch": "nas.export.forms.plain:PLAIN",
            "torch-export": "nas.export.forms.program:PROGRAM",
            "openvino": "nas.export.forms.openvino_ir:OPENVINO",
            "executorch": "nas.export.forms.executorch_pte:EXECUTORCH",
        },
        "table-format": {
            "ofa": "nas.targets.adapters.ofa:Ofa",
            "proxyless": "nas.targets.adapters.ofa:Proxyless",
            "dpu-blocks": "nas.targets.adapters.dpu_blocks:DpuBlocks",
            "fbnet": "nas.targets.adapters.fbnet:FbNet",
            "hw-nas-bench": "nas.targets.adapters.hwnasbench:HwNasBench",
            "hat": "nas.targets.adapters.hat:Hat",
            "tf-nas": "nas.targets.adapters.tfnas:TfNas",
            "single-path": "nas.targets.adapters.single_path:SinglePath",
            "apq": "nas.targets.adapters.apq:Apq",
            "haq": "nas.targets.adapters.haq:Haq",
            "hawq-v3": "nas.targets.adapters.hawq:Hawq",
            "spaceevo": "nas.targets.adapters.spaceevo:SpaceEvo",
        },
    }
)
"""Kind -> name -> where a shipped part stands. The first name of a kind is its default."""

# Parts whose package is not always installed with the engine: (package, extra that installs it).
_NEEDS = {("searcher", "age-moea"): ("numba", "peers")}


class PartError(ValueError, KeyError):
    """The error for a part that is not known, cannot be loaded or has the name of another part."""

    __str__ = Exception.__str__  # a KeyError would show its message in quotes


@dataclass(frozen=True)
class Entry:
    """A part in the table.

    Attributes:
        where: The module and the name in this module, `module:name`.
        load: A function that imports the part.
    """

    where: str
    load: Callable[[], Any]


class Parts(Mapping[str, Any]):
    """All parts of a kind, by name; a part is imported when it is looked up.

    Args:
        kind: The kind, such as `searcher`.

    Raises:
        PartError: There is no such kind.
    """

    def __init__(self, kind: str) -> None:
        if kind not in SHIPPED:
            raise PartError(f"there is no kind of parts {kind!r}; there are {', '.join(SHIPPED)}")
        self.kind = kind

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())

    def __contains__(self, name: object) -> bool:
        return name in self._entries()

    def __getitem__(self, name: str) -> Any:
        """The part called `name`.

        Raises:
            PartError: There is no such part, or its module cannot be imported.
        """
        entry = self.entry(name)
        try:
            return entry.load()
        except Exception as error:
            raise PartError(
                f"the {self.kind} {name!r} of {entry.where} cannot be loaded: "
                f"{type(error).__name__}: {error}"
            ) from error

    def entry(self, name: str) -> Entry:
        """The entry of the part called `name`, which is not imported.

        Raises:
            PartError: There is no such part, or a package that it needs is not installed.
        """
        entry = self._known(name)
        package, extra = _NEEDS.get((self.kind, name), ("", ""))
        if package and importlib.util.find_spec(package) is None:
            raise PartError(
                f"{name} needs {package}, which is not installed; run: pip install "
                f"'elastic-nas[{extra}]', or choose another {self.kind}: "
                f"{', '.join(other for other in self if other != name)}"
            )
        return entry

    def where(self, name: str) -> str:
        """Where the part called `name` stands, `module:name`; raises `PartError`."""
        return self._known(name).where

    @property
    def default(self) -> str:
        """The name of the part that is used where none is named."""
        return next(iter(SHIPPED[self.kind]))

    def _known(self, name: str) -> Entry:
        known = self._entries()
        if name not in known:
            raise PartError(f"there is no {self.kind} {name!r}; there are {', '.join(known)}")
        return known[name]

    def _entries(self) -> Mapping[str, Entry]:
        defined = _operators() if self.kind == "operator" else _shipped(self.kind)
        return {**_installed(self.kind), **defined, **_registered[self.kind]}


def register(kind: str, name: str) -> Callable[[Made], Made]:
    """A decorator that adds a part to the table; `register(kind, name)(part)` does the same.

    A module that is imported again replaces its own parts.

    Args:
        kind: The kind, such as `searcher`.
        name: The name in recipes: letters, digits, `_`, `.` and `-`.

    Raises:
        PartError: The name has another form, or another part of the kind has the same name.
    """
    known = Parts(kind)
    if not _NAME.fullmatch(name):
        raise PartError(
            f"a part is called by letters, digits, '_', '.' and '-', given {name!r}; rename it"
        )

    def add(made: Made) -> Made:
        named: Any = made if hasattr(made, "__qualname__") else type(made)
        where = f"{named.__module__}:{named.__qualname__}"
        taken = known._entries().get(name)
        if taken is not None and taken.where != where:
            raise PartError(
                f"the {kind} {name!r} of {where} has the name of {taken.where}; rename yours"
            )
        _registered[kind][name] = Entry(where, lambda: made)
        return made

    return add


def import_installed(kind: str) -> None:
    """Import the parts of a kind that installed packages have; raises `PartError` for a fault."""
    for name in _installed(kind):
        Parts(kind)[name]


_registered: dict[str, dict[str, Entry]] = {kind: {} for kind in SHIPPED}


@functools.cache
def _shipped(kind: str) -> Mapping[str, Entry]:
    return {name: Entry(where, _importing(where)) for name, where in SHIPPED[kind].items()}


def _operators() -> Mapping[str, Entry]:
    """All operators whose classes are defined, by the name of the class."""
    from search_spaces.choice import known_specs, spec_name
    from search_spaces.ops import Op

    found: dict[str, type[Op]] = {}
    for kind in known_specs(Op):
        other = found.setdefault(kind.__name__, kind)
        if spec_name(other) == other.__name__ and spec_name(kind) != kind.__name__:
            raise PartError(
                f"the operator {spec_name(kind)} has the name of a shipped one; rename yours"
            )
        found[kind.__name__] = kind  # the latest, where a module was imported again
    return {
        name: Entry(f"{kind.__module__}:{kind.__qualname__}", functools.partial(_same, kind))
        for name, kind in found.items()
    }


def _same(made: Any) -> Any:
    return made


def _importing(where: str) -> Callable[[], Any]:
    module, _, attribute = where.partition(":")
    return lambda: getattr(importlib.import_module(module), attribute)


@functools.cache
def _installed(kind: str) -> Mapping[str, Entry]:
    """The parts of installed packages, none of which is imported."""
    found: dict[str, Entry] = {}
    for entry in entry_points(group=GROUP):
        told, separator, name = entry.name.partition(".")
        where = f"{entry.value} (installed by {entry.dist.name if entry.dist else 'a package'})"
        if told not in SHIPPED or not separator or not _NAME.fullmatch(name):
            raise PartError(
                f"the entry point {entry.name!r} of {where} must be called KIND.NAME, where KIND "
                f"is one of {', '.join(SHIPPED)}; correct or uninstall that package"
            )
        if told == kind:
            other = _shipped(kind).get(name) or found.get(name)
            if other is not None:
                raise PartError(
                    f"the {kind} {name!r} of {where} has the name of {other.where}; uninstall one"
                )
            found[name] = Entry(where, entry.load)
    return found
