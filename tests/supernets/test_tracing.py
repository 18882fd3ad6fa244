"""A traced network equals the model at any batch size; what cannot be traced is refused."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops import (
    Affine,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    MatMul,
    MergeHeads,
    Opaque,
    Outputs,
    Scale,
    SplitHeads,
)
from search_spaces.space import SearchSpace
from supernets.supernet import Supernet, weights_of
from supernets.tracing import Traced, TraceError, trace, unpacked
from supernets.tracing.layout import Layout, viewed
from supernets.tracing.outputs import named_outputs
from supernets.weights import WeightsError


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Block(nn.Module):
    """A residual block with a depthwise convolution, a gate and norms of random statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(4, 8, 1, bias=False)
        self.norm = nn.BatchNorm2d(8, eps=1e-3)
        self.act = nn.Hardswish(inplace=True)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Hardsigmoid())
        self.project = nn.Conv2d(8, 4, 1)
        self.last = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depth(self.act(self.norm(self.expand(x))))
        y = self.last(F.relu(self.project(y * self.gate(y))))
        return x + y


class Attention(nn.Module):
    """A block of attention as most vision transformers write it, with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.positions = nn.Parameter(drawn(1, 1, 8)), nn.Parameter(drawn(1, 17, 8))
        self.qkv, self.out, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)
        self.scale = nn.Parameter(drawn(8))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        return (x + self.scale * self.out(y))[:, 0]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 4, 3, 2, padding=1), Block()
        self.attention, self.head = Attention(), nn.Linear(4, 5)
        self.narrow = nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(F.gelu(self.narrow(self.attention(self.join(image)))))

    def join(self, image: Tensor) -> Tensor:
        x = self.block(self.stem(image))
        return torch.cat([x, x.roll(1, 3)], 1)


def settled(model: nn.Module) -> nn.Module:
    """The model in evaluation mode, with norms whose statistics are not those of a new model."""
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(part.get_buffer("running_mean"), -1, 1)
            nn.init.uniform_(part.get_buffer("running_var"), 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 2)
    return model.eval()


def assert_traced(model: nn.Module, *inputs: Tensor) -> Traced:
    """A traced model that equals the model at a batch size that neither export had."""
    traced = trace(model, inputs)
    more = [torch.cat([x, x.flip(0), x]) for x in inputs]
    with torch.no_grad():
        found, wanted = traced.module()(*more), model(*more)
    assert isinstance(wanted, Tensor)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * max(1, float(wanted.abs().max())))
    return traced


@pytest.fixture(scope="module")
def net() -> tuple[nn.Module, Traced]:
    model = settled(Net())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    traced = assert_traced(model, drawn(2, 3, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    return model, traced


def test_operators_have_the_paths_of_their_modules(net: tuple[nn.Module, Traced]) -> None:
    nodes = net[1].graph.nodes
    assert nodes["stem"].op == Conv2d(4, 3, 2, bias=True)
    assert nodes["block.depth"].op == DepthwiseConv2d(3, bias=True)
    assert nodes["block.norm"].op == BatchNorm2d(1e-3)
    assert nodes["block.last"].op == Affine(0)  # behind a ReLU, which absorbs no norm
    assert nodes["block.gate.1"].op == Conv2d(8, 1, bias=True)
    assert not any(isinstance(node.op, Opaque) for node in nodes.values())
    scores = next(node.op for node in nodes.values() if isinstance(node.op, MatMul))
    assert scores == MatMul(transposed=True, scale=0.5)


def test_a_traced_network_is_a_space_like_any_other(net: tuple[nn.Module, Traced]) -> None:
    space = SearchSpace(net[1].graph, name="mine")
    assert SearchSpace.from_json(space.to_json()) == space
    assert space.choices == ()


def test_with_nothing_elastic_a_supernet_is_the_model(net: tuple[nn.Module, Traced]) -> None:
    """Norms are folded, as a supernet would take the statistics of the batch."""
    model, traced = net
    folded, images = traced.folded(), drawn(5, 3, 8, 8, seed=1)
    assert not any(node.op.folds for node in folded.graph.nodes.values())
    supernet = Supernet.of(SearchSpace(folded.graph), folded.tensors)
    with torch.no_grad():
        wanted = model(images)
        torch.testing.assert_close(supernet(images, ()), wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(folded.module()(images), wanted, rtol=0, atol=1e-5)
    whole = Supernet.of(SearchSpace(traced.graph), traced.tensors)
    assert torch.equal(weights_of(whole)["stem.weight"], model.get_parameter("stem.weight"))


def test_a_supernet_of_other_weights_is_refused(net: tuple[nn.Module, Traced]) -> None:
    tensors = dict(net[1].tensors)
    del tensors["stem.weight"]
    with pytest.raises(WeightsError, match=r"missing: stem\.weight"):
        Supernet.of(SearchSpace(net[1].graph), tensors)


def test_tensors_are_copies_by_address(net: tuple[nn.Module, Traced]) -> None:
    model, traced = net
    assert torch.equal(traced.tensors["stem.weight"], model.get_parameter("stem.weight"))
    variance = model.get_buffer("block.norm.running_var")
    assert torch.equal(traced.tensors["block.norm.variance"], variance)
    ours = {tensor.data_ptr() for tensor in traced.tensors.values()}
    assert ours.isdisjoint(tensor.data_ptr() for tensor in model.state_dict().values())


class Function(nn.Module):
    """A function of a tensor, behind a parameter, so that there is something to train."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(drawn(4, seed=5))
        self.matrix = nn.Parameter(drawn(4, 4, seed=6))
        self.register_buffer("mask", torch.ones(4, 4).triu(1).bool())

    def forward(self, *inputs: Tensor) -> Any:
        first = inputs[0] * self.weight.reshape(-1, *(1,) * (inputs[0].dim() - 2))
        return self.function(self, first, *inputs[1:])


def windows(m: Function, x: Tensor) -> Tensor:
    """Attention within windows, whose batch is the outer factor of an axis, as in Swin."""
    b, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h // 3, 3, w // 3, 3, c).transpose(2, 3).reshape(-1, 9, c)
    x = F.scaled_dot_product_attention(x, x, x).view(b, h // 3, w // 3, 3, 3, c)
    return x.transpose(2, 3).reshape(b, h, w, c)


def shifted(m: Function, x: Tensor) -> Tensor:
    """A mask of the type and the shape of the input, as shifted windows have in torchvision."""
    mask = x.new_zeros((4, 4))
    mask[1:3] = 2.5
    return x + mask + 2 * torch.ones_like(x)


IMAGES, ROWS = drawn(2, 4, 6, 6), drawn(2, 4, 4, seed=1)
KNOWN: dict[str, tuple[Tensor, Callable[..., Any]]] = {
    "ceil": (IMAGES, lambda m, x: F.max_pool2d(x, 3, 2, ceil_mode=True)),
    "average": (
        IMAGES,
        lambda m, x: F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False),
    ),
    "uncounted": (IMAGES, lambda m, x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)),
    "adaptive": (IMAGES, lambda m, x: F.adaptive_avg_pool2d(x, (4, 3))),
    "largest": (IMAGES, lambda m, x: F.adaptive_max_pool2d(x, 1).flatten(1)),
    "padded": (IMAGES, lambda m, x: F.pad(x, (1, 2, 0, 1), "reflect") - F.pad(x, (1, 2, 0, 1))),
    "bilinear": (IMAGES, lambda m, x: F.interpolate(x, size=(3, 9), mode="bilinear")),
    "same": (IMAGES, lambda m, x: F.conv2d(x, m.matrix[..., None, None], padding="same")),
    "windows": (IMAGES, windows),
    "shuffle": (IMAGES, lambda m, x: x.view(-1, 2, 2, 6, 6).transpose(1, 2).flatten(1, 2)),
    "parts": (IMAGES, lambda m, x: torch.cat([*x.chunk(3, 2), x[:, :, ::2]], 2).mean((2, 3))),
    "line": (ROWS, lambda m, x: F.conv1d(x, m.matrix[..., None], m.weight)),
    "stacked": (ROWS, lambda m, x: torch.stack([x, x.flip(1) * 0 + x], -1).sum(-1)),
    "einsum": (ROWS, lambda m, x: torch.einsum("bnd,bmd->bnm", x, x)),
    "numbers": (ROWS, lambda m, x: (1 - x) / 3 + 2 * x.square() - x**2),
    "matrix": (ROWS, lambda m, x: m.matrix @ x @ m.matrix + m.matrix),
    "causal": (ROWS, lambda m, x: F.scaled_dot_product_attention(x, x, x, is_causal=True)),
    "masked": (ROWS, lambda m, x: F.scaled_dot_product_attention(x, x, x, attn_mask=~m.mask)),
    "shifted": (ROWS, shifted),
    "middle": (ROWS, lambda m, x: x.softmax(1) + F.layer_norm(x, (4, 4))),
    "repeated": (ROWS, lambda m, x: x * x.mean(1, keepdim=True).expand_as(x)),
    "gated": (ROWS, lambda m, x: x * torch.sigmoid(x) + torch.clamp(x, max=0.5) + F.celu(x)),
}


class Many(nn.Module):
    """Many functions of images and of rows, with an output each, which are traced together."""

    def __init__(self, functions: dict[str, tuple[Tensor, Callable[..., Any]]]) -> None:
        super().__init__()
        self.images = {name: given is IMAGES for name, (given, _) in functions.items()}
        self.parts = nn.ModuleDict({f"_{name}": Function(f) for name, (_, f) in functions.items()})

    def forward(self, images: Tensor, rows: Tensor) -> dict[str, Tensor]:
        pairs = zip(self.images.items(), self.parts.values(), strict=True)
        return {name: part(images if image else rows) for (name, image), part in pairs}


@pytest.fixture(scope="module", params=["known", "unknown"])
def many(request: pytest.FixtureRequest) -> tuple[dict[str, Any], nn.Module, Traced]:
    functions = KNOWN if request.param == "known" else UNKNOWN
    model = Many(functions).eval()
    return functions, model, trace(model, (IMAGES, ROWS))


def test_calls_compute_the_same_for_any_batch_size(many: Any) -> None:
    _, model, traced = many
    more = [torch.cat([x, x.flip(0), x]) for x in (IMAGES, ROWS)]
    with torch.no_grad():
        found, wanted = unpacked(traced.graph, traced.module()(*more)), model(*more)
    assert [*found] == [*wanted]
    for name, answer in wanted.items():
        torch.testing.assert_close(found[name], answer, rtol=1e-5, atol=1e-5, msg=name)


def test_known_calls_become_operators_and_others_opaque_ones(many: Any) -> None:
    functions, _, traced = many
    opaque = {
        address.split(".")[1].removeprefix("_")
        for address, node in traced.graph.nodes.items()
        if isinstance(node.op, Opaque)
    }
    assert opaque == ({"stacked"} if functions is KNOWN else {*UNKNOWN})


def test_a_file_holds_a_traced_network(many: Any) -> None:
    space = SearchSpace(many[2].graph)
    assert SearchSpace.from_json(space.to_json()) == space


def assigned(m: Function, x: Tensor) -> Tensor:
    """An assignment to a part, which torch exports as a copy that is put into the whole."""
    y = x.clone()
    y[:, 1:] += x[:, 1:] * 2
    return y


UNKNOWN: dict[str, tuple[Tensor, Callable[..., Any]]] = {
    "assigned": (ROWS, assigned),
    "each": (ROWS, lambda m, x: x.repeat_interleave(3, 0).view(-1, 3, 4, 4)),
    "cumulative": (ROWS, lambda m, x: x.cumsum(1)),
    "index": (ROWS, lambda m, x: x[:, torch.tensor([3, 0, 3])]),
    "transposed": (IMAGES, lambda m, x: F.conv_transpose2d(x, m.matrix[..., None, None])),
    "masked": (ROWS, lambda m, x: x.masked_fill(m.mask, -torch.inf).softmax(-1)),
    "largest": (ROWS, lambda m, x: x.max(1)[0] + x.topk(2, 1)[0].sum(1)),
    "where": (ROWS, lambda m, x: torch.where(x > 0, x, x.exp())),
    "repeated": (ROWS, lambda m, x: x[:, None].expand(x.shape[0], 3, 4, 4).sin()),
}


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(F.relu(self.inner(x)))


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.read = nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 4, 1)
        self.linear, self.norm = nn.Linear(6, 3), nn.BatchNorm1d(3)
        self.first = nn.Parameter(drawn(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x) * self.first + self.first
        y = self.read(x)
        return self.norm(self.linear((y + y * self.first).mean(2).mean(1)))


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + self.norm(y)


class Attended(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part(x).view(x.shape[0], -1, 2, 2).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        weights = (q @ k.transpose(-2, -1) * 0.5).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(x.shape)


@pytest.fixture(scope="module")
def odd() -> Traced:
    """Networks with something odd about them, side by side."""
    parts = {"twice": Twice(), "attended": Attended(), "heads": Heads()}
    images = {"scaled": Scaled(), "shared": Shared()}

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows, self.images = nn.ModuleDict(parts), nn.ModuleDict(images)

        def forward(self, images: Tensor, rows: Tensor) -> list[Tensor]:
            found = [part(images) for part in self.images.values()]
            return found + [part(rows) for part in self.rows.values()]

    model = settled(Odd())
    traced, more = trace(model, (IMAGES, ROWS)), [torch.cat([x, x.flip(0)]) for x in (IMAGES, ROWS)]
    with torch.no_grad():
        found, wanted = unpacked(traced.graph, traced.module()(*more)), model(*more)
    for answer, ours in zip(wanted, found.values(), strict=True):
        torch.testing.assert_close(ours, answer, rtol=1e-5, atol=1e-5)
    return traced


def test_a_module_that_is_called_twice_has_one_weight(odd: Traced) -> None:
    names = [address for address in odd.graph.nodes if address.startswith("rows.twice")]
    linear = ["rows.twice.inner", "rows.twice.inner.linear"]
    assert [*names] == [linear[0], "rows.twice.activation", linear[1]]
    first, second = (odd.tensors[f"{address}.weight"] for address in linear)
    assert first is second
    folded = odd.folded()
    supernet = Supernet.of(SearchSpace(folded.graph), folded.tensors)
    first, second = (supernet.node(address).tensors["weight"] for address in linear)
    assert first is second
    groups = supernet.parameter_groups()
    assert sum(map(len, groups.values())) == len([*supernet.parameters()])


def test_an_affine_operator_is_part_of_the_weights_before(odd: Traced) -> None:
    """Of vectors, of the last axis, and of channels; not where others read the same."""
    nodes = {a: node for a, node in odd.graph.nodes.items() if a.startswith("images.scaled")}
    affine = [node.inputs for node in nodes.values() if isinstance(node.op, Affine)]
    assert affine == [("images.scaled.read",)]
    assert nodes["images.scaled.conv"].op == Conv2d(4, 1, bias=True)
    assert "images.scaled.norm" not in nodes


def test_a_norm_behind_an_operator_that_others_read_is_affine(odd: Traced) -> None:
    assert odd.graph.nodes["images.shared.norm"].op == Affine(0)


def test_heads_are_split_and_merged_as_in_any_space(odd: Traced) -> None:
    nodes = [node.op for a, node in odd.graph.nodes.items() if a.startswith("rows.heads")]
    assert nodes.count(SplitHeads(2)) == 3
    assert nodes[-1] == MergeHeads()


def test_attention_of_torch_has_heads(odd: Traced) -> None:
    """Its batch is the second axis, and later a factor of the first."""
    nodes = [node.op for a, node in odd.graph.nodes.items() if a.startswith("rows.attended")]
    assert MatMul(transposed=True, scale=2**-0.5) in nodes
    assert MergeHeads() in nodes


Pair = namedtuple("Pair", ["mean", "spread"])  # as models write it


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (lambda a, b: a, ["output"]),
        (lambda a, b: (a, None, b), ["0", "2"]),
        (lambda a, b: {"logits": a, "more": [b]}, ["logits", "more.0"]),
        (Pair, ["mean", "spread"]),
    ],
    ids=["tensor", "tuple", "dictionary", "named"],
)
def test_outputs_are_named_by_their_place(made: Callable[..., Any], names: list[str]) -> None:
    found = named_outputs(made(IMAGES, ROWS))
    assert [*found] == names
    assert found[names[0]] is IMAGES
    assert found[names[-1]] is (ROWS if len(names) > 1 else IMAGES)


def test_several_outputs_are_one_operator(many: Any) -> None:
    functions, _, traced = many
    last = traced.graph.nodes[traced.graph.output]
    assert last.op == Outputs(names=tuple(functions), arity=len(functions))
    assert [op.name for op in traced.graph.inputs.values()] == ["images", "rows"]


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.positions = nn.Embedding(11, 4), nn.Embedding(5, 4)

    def forward(self, tokens: Tensor, image: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return (self.table(tokens) + self.positions(places)) * image.mean((2, 3)).unsqueeze(1)


def test_inputs_may_be_given_by_name() -> None:
    model, tokens = Tokens().eval(), torch.arange(10).reshape(2, 5)
    traced = trace(model, {"image": IMAGES, "tokens": tokens})
    assert [op.name for op in traced.graph.inputs.values()] == ["image", "tokens"]
    with torch.no_grad():
        found = traced.module()(image=IMAGES, tokens=tokens)
        torch.testing.assert_close(found, model(tokens, IMAGES))


def test_a_number_is_no_parameter() -> None:
    traced = assert_traced(Function(lambda m, x: x * 0.5 + 2).eval(), ROWS)
    kinds = [node.op for node in traced.graph.nodes.values() if isinstance(node.op, Scale)]
    assert kinds == [Scale(0.5), Scale(1.0, 2.0)]


def chosen(m: Function, x: Tensor) -> Tensor:
    return x * 2 if x.sum() > 0 else x


def broken(m: Function, x: Tensor) -> Tensor:
    return m.matrix @ x.reshape(-1, 3)


REFUSED: list[tuple[nn.Module, Any, str]] = [
    (nn.Linear(4, 4), drawn(2, 4), r"in training mode: the model; call model\.eval\(\)"),
    (nn.ReLU().eval(), drawn(2, 4), "no parameters"),
    (nn.Linear(4, 4).double().eval(), drawn(2, 4), r"torch\.float64; call model\.float\(\)"),
    (nn.Linear(4, 4).eval(), drawn(2, 5), r"does not run .* input \(2, 5\).* it said: .*shapes"),
    (nn.Linear(4, 4).eval(), drawn(2, 4).int(), "is torch.int32"),
    (nn.Linear(4, 4).eval(), [], "no inputs are given"),
    (nn.Linear(4, 4).eval(), [3], "inputs are tensors, given int"),
    (nn.Linear(4, 4).eval(), torch.empty(0, 4), "at least one, given 0 of input"),
    (nn.Linear(4, 4).eval(), drawn(2, 4).to("meta"), "on cpu but inputs are on meta"),
    (Function(chosen).eval(), ROWS, r"decides by the values .*test_tracing\.py:\d+"),
    (Function(broken).eval(), ROWS, "does not run"),
    (Function(lambda m, x: 3).eval(), ROWS, "returns int at 'its output'"),
    (Function(lambda m, x: (x, "text")).eval(), ROWS, "returns str at '1'"),
    (Function(lambda m, x: m.weight).eval(), ROWS, "does not depend on its inputs"),
    (Function(lambda m, x: x.transpose(0, 1)).eval(), ROWS, "batch as its first axis"),
    (Function(lambda m, x: x.argmax(1)).eval(), ROWS, "torch.int64; let every output"),
    (Function(lambda m, x: x - x.mean(0)).eval(), ROWS, "one result for all samples"),
    (Function(lambda m, x: x + torch.rand(4)).eval(), ROWS, "draws random numbers"),
    (
        Function(lambda m, x: F.batch_norm(x, None, None, training=True)).eval(),
        ROWS,
        "by the batch",
    ),
]


@pytest.mark.parametrize(("model", "inputs", "told"), REFUSED)
def test_what_cannot_be_traced_is_refused_in_a_sentence(
    model: nn.Module, inputs: Any, told: str
) -> None:
    with pytest.raises(TraceError, match=told):
        trace(model, inputs)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        model.get_parameter("1.weight")[0, 0] = value
    with pytest.raises(TraceError, match=r"not finite: 1\.weight"):
        trace(model, drawn(2, 4))


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(TraceError, match=r"in training mode.*is torch\.int32"):
        trace(nn.Linear(4, 4), drawn(2, 4).int())


def test_a_view_keeps_samples_apart_or_is_none() -> None:
    """(tokens, batch, 6) as (tokens, batch * 2, 3) is known, (tokens / 2, ...) is not."""
    tokens = Layout(1)
    assert viewed(tokens, (4, 2, 6), (4, 4, 3), Layout(1, 1, 2)) == Layout(1, 1, 2)
    assert viewed(tokens, (4, 2, 6), (8, 6), Layout(0, 1, 4)) == Layout(0, 4, 1)
    assert viewed(Layout(0, 1, 3), (6, 5), (2, 15), Layout()) == Layout()
    assert viewed(tokens, (4, 2, 6), (3, 16), Layout(1, 1, 8)) is None
