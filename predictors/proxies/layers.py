"""The layers and the blocks of any module, and what they read and give in a pass."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def weighted(module: nn.Module) -> dict[str, nn.Module]:
    """The layers of a module by path: those that hold a parameter of two or more dimensions."""
    return {path: part for path, part in module.named_modules() if _weights_of(part)}


def repeated(module: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a module by path.

    A block is the outermost module that has submodules and whose class occurs at least twice, such
    as a residual block, a cell or a layer of a transformer. Plain containers are no blocks. In a
    network without any, every layer with weights is one.
    """
    large = {
        path: part
        for path, part in module.named_modules()
        if part is not module and any(part.children()) and not isinstance(part, _CONTAINERS)
    }
    often = Counter(type(part) for part in large.values())
    found: dict[str, nn.Module] = {}
    for path, part in large.items():  # parents come before their children
        inside = any(path.startswith(f"{outer}.") for outer in found)
        if often[type(part)] > 1 and not inside:
            found[path] = part
    return found or weighted(module)


def path_of(parameter: str) -> str:
    """The path of the module that holds the parameter of a name."""
    return parameter.rpartition(".")[0]


def channels_first(x: Tensor, part: nn.Module) -> bool:
    """Whether the channels of what a module read or gave are dimension 1, not the last one.

    They are if the module has a convolution over as many dimensions as `x` has, or no weights and
    `x` is an image.
    """
    sizes = {weight.ndim for weight in part.parameters() if weight.ndim >= 2}
    return x.ndim > 2 and (x.ndim in sizes or (x.ndim >= 4 and not sizes))


def channels_last(x: Tensor, part: nn.Module) -> Tensor:
    """What a module read or gave, with its channels last, `(n, positions, channels)`."""
    aligned = x.movedim(1, -1) if channels_first(x, part) else x
    return aligned.reshape(len(x), -1, aligned.shape[-1])


Calls = dict[str, list[tuple[Tensor | None, Tensor]]]
"""Path of a module -> for each of its calls, the first tensor that it read, and what it gave."""


@contextmanager
def paths(module: nn.Module) -> Iterator[Callable[[], str]]:
    """A context with a function that gives the path of the innermost module that runs."""
    running = [""]

    def entered(path: str) -> Callable[..., None]:
        return lambda *_: running.append(path)

    with ExitStack() as hooks:
        for path, part in module.named_modules():
            hooks.callback(part.register_forward_pre_hook(entered(path)).remove)
            leave = part.register_forward_hook(lambda *_: _leave(running), always_call=True)
            hooks.callback(leave.remove)
        yield lambda: running[-1]


def _leave(running: list[str]) -> None:
    running.pop()


@contextmanager
def calls(watched: Mapping[str, nn.Module]) -> Iterator[Calls]:
    """A context that notes what the modules `watched` read and give.

    Others go on with a copy of it, so that nothing changes in place what was noted.
    """
    found: Calls = defaultdict(list)

    def note(path: str) -> Callable[..., Any]:
        def noted(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            read = next((x for x in args if isinstance(x, Tensor)), None)
            if isinstance(output, Tensor):
                found[path].append((read, output))
                return output.clone()
            if isinstance(output, tuple) and output and isinstance(output[0], Tensor):
                found[path].append((read, output[0]))
                return (output[0].clone(), *output[1:])
            return None

        return noted

    with ExitStack() as hooks:
        for path, part in watched.items():
            hooks.callback(part.register_forward_hook(note(path)).remove)
        yield found


def _weights_of(part: nn.Module) -> bool:
    return any(parameter.ndim >= 2 for parameter in part.parameters(recurse=False))
