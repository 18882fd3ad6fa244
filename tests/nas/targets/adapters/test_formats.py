"""Every public format under the contract, on small files in its published form."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from nas.targets import TargetError
from nas.targets.adapters import Adapter
from nas.targets.adapters.apq import Apq
from nas.targets.adapters.dpu_blocks import DpuBlocks
from nas.targets.adapters.fbnet import FbNet
from nas.targets.adapters.haq import Haq
from nas.targets.adapters.hat import Hat
from nas.targets.adapters.hawq import Hawq, layers
from nas.targets.adapters.hwnasbench import HwNasBench
from nas.targets.adapters.ofa import Ofa, Proxyless
from nas.targets.adapters.single_path import SinglePath
from nas.targets.adapters.spaceevo import SpaceEvo
from nas.targets.adapters.tfnas import TfNas
from nas.testing.adapter import AdapterContract

OFA_KEYS = (
    "Conv-input:160x160x3-output:80x80x24",
    "expanded_conv-input:10x10x96-output:10x10x96-expand:288-kernel:3-stride:1-idskip:1-se:0-hs:1",
    "expanded_conv-input:40x40x32-output:20x20x48-expand:96-kernel:5-stride:2-idskip:0-se:1-hs:0",
    "expanded_conv-input:80x80x24-output:80x80x24-expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0",
    "Conv_1-input:5x5x192-output:5x5x1152",
    "AvgPool2D-input:5x5x1152-output:1x1x1152",
    "Conv_2-input:1x1x1152-output:1x1x1536",
    "Logits-input:1x1x1536-output:1000",
)
OFA = "".join(
    f"{key}:\n  count: 50\n  mean: {1.5 + place}\n  std: 0.01\n"
    for place, key in enumerate(OFA_KEYS)
)


class TestOfa(AdapterContract):
    suffix, published_text, figure = ".yaml", OFA, "2.5"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return Ofa()

    @pytest.fixture
    def published(self) -> str:
        return OFA

    def test_every_kind_of_layer_is_mapped(self, adapter: Adapter, path: Path) -> None:
        found = adapter.read(path)
        assert len(found.rows) == len(OFA_KEYS)
        assert [key.operator for key in found.rows] == [
            *("Conv2d", "Conv2d", "Conv2d", "DepthwiseConv2d"),
            *("Conv2d", "GlobalPool", "Conv2d", "Linear"),
        ]

    def test_rows_copied_from_another_device_are_found_and_left_out(self, tmp_path: Path) -> None:
        known, other = tmp_path / "note10.yaml", tmp_path / "jetson.json"
        known.write_text(OFA)
        figures = {key: {"count": 9, "mean": 3.1, "std": 0.1} for key in OFA_KEYS}
        figures[OFA_KEYS[2]] = {"count": 50, "mean": 3.5, "std": 0.01}
        other.write_text(json.dumps(figures))
        found = Ofa(other=known).read(other)
        assert len(found.rows) == len(OFA_KEYS) - 1
        assert [(finding.kind, finding.count) for finding in found.findings] == [("copied", 1)]
        assert [item.reason for item in found.unmapped] == ["a copy of the other table"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a: &a [1, 1]\nb: *a\n", "aliases"),
            (f"{OFA}{OFA_KEYS[0]}:\n  mean: 1.0\n", "repeated"),
            ("!!python/object/apply:os.system ['true']\n", "no usable YAML"),
            ("? [1, 2]\n: 3\n", "unhashable"),
            ("1: 2\n", "no map"),
            ("[" * 5000, "no usable JSON"),
            ("- " * 3000 + "\n", "no usable YAML"),
            ("a" + ": {a" * 3000 + "\n", "no usable YAML"),
        ],
    )
    def test_yaml_that_would_grow_or_run_is_refused(
        self, tmp_path: Path, text: str, said: str
    ) -> None:
        path = tmp_path / "bomb.yaml"
        path.write_text(text)
        with pytest.raises(TargetError, match=said):
            Ofa().read(path)


class TestProxyless(AdapterContract):
    suffix, figure = ".yaml", "6.25"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return Proxyless()

    @pytest.fixture
    def published(self) -> str:
        block = "expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:3-stride:2-idskip:0"
        logits = "Logits-input:7x7x1280-output:1000"
        return "".join(
            f"{key}:\n  count: 164\n  mean: {mean}\n  var: 0.04\n"
            for key, mean in ((block, 6.25), (logits, 0.31))
        )

    def test_the_spread_is_the_root_of_the_variance(self, adapter: Adapter, path: Path) -> None:
        block, logits = adapter.read(path).rows.items()
        assert block[1].spread_ms == pytest.approx(0.2)
        assert block[0].fields == f"out={3 * 16},kernel=1"
        assert logits[0].operator == "GlobalPool"
        assert logits[0].fused == "Linear(out=1000)"


class TestDpuBlocks(AdapterContract):
    figure = "0.719"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return DpuBlocks(pool_ms=0.0)

    @pytest.fixture
    def published(self) -> str:
        names = {
            "ResidualBlock-in_96x14x14-out_136-k_7-e_3-s_1-act_h_swish-use_se_True": 0.719,
            "ResidualBlock-in_24x112x112-out_24-k_5-e_1-s_1-act_relu-use_se_False": 1.358,
            "Conv_in-192x7x7_out-1152_k-1_act-h_swish_shape": 0.525,
            "Linear_in-1536_out-1000": 0.822,
        }
        return "name,runs,avg_ms\n" + "".join(f"{n},500,{ms}\n" for n, ms in names.items())


class TestApq(AdapterContract):
    suffix, figure = ".dict", "0.062192"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return Apq()

    @pytest.fixture
    def published(self) -> str:
        rows = {
            "(96, 456, 14, 1, 1, 0, 1)-W4A4": {"energy": 0.1068, "latency": 0.062192},
            "(96, 456, 14, 1, 1, 0, 1)-W8A8": {"energy": 0.1999, "latency": 0.094},
            "(488, 488, 14, 3, 1, 1, 488)-W4A4": {"energy": 0.1656, "latency": 0.089792},
            "(488, 96, 14, 1, 1, 0, 1)-W4A4": {"energy": 0.0336, "latency": 0.018482},
        }
        return json.dumps(rows)

    def test_a_projection_carries_an_addition_for_free(self, adapter: Adapter, path: Path) -> None:
        rows = adapter.read(path).rows
        alone = next(k for k in rows if (k.inputs, k.fields) == ("488x14x14", "out=96,kernel=1"))
        added = next(key for key in rows if key.inputs == "488x14x14+96x14x14")
        assert added.fused == "Add@in1"
        assert rows[added] == rows[alone]
        assert rows[alone].energy_mj == 0.0336


class TestHaq(AdapterContract):
    figure = "1620752"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return Haq(clock_mhz=200)

    @pytest.fixture
    def published(self) -> str:
        rows = ((0, 8, 8, 1620752), (1, 8, 8, 3212832), (52, 4, 8, 40021))
        return "layer,w_bits,a_bits,latency_cycles\n" + "".join(
            ",".join(map(str, row)) + "\n" for row in rows
        )

    def test_cycles_without_a_clock_are_refused(self, path: Path) -> None:
        with pytest.raises(TargetError, match="cycles and clock_mhz is None"):
            Haq().read(path)

    def test_the_published_array_gives_the_same(self, adapter: Adapter, tmp_path: Path) -> None:
        cycles = np.arange(53 * 64, dtype=float).reshape(53, 8, 8) + 1e5
        file = io.BytesIO()
        np.save(file, cycles)
        path = tmp_path / "table.npy"
        path.write_bytes(file.getvalue())
        rows = adapter.read(path).rows
        stem = next(row for key, row in rows.items() if key.inputs == "3x224x224")
        assert stem.latency_ms == pytest.approx(1e5 / 200e3 / 16)
        path.write_bytes(file.getvalue()[:-9])
        with pytest.raises(TargetError, match="no plain array"):
            adapter.read(path)
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        with pytest.raises(TargetError, match="no plain array"):
            adapter.read(path)


class TestHawq(AdapterContract):
    figure = "0.25"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return Hawq()

    @pytest.fixture
    def published(self) -> str:
        rows = [f"resnet18,{n},{k.macs / 1e6},0.25,0.5" for n, k in enumerate(layers("resnet18"))]
        return "\n".join(["network,layer,mmacs,lat_int4_ms,lat_int8_ms", *rows, ""])

    def test_the_networks_have_the_published_shapes(self) -> None:
        for network, count, mmacs in (("resnet18", 19, 1695.5), ("resnet50", 52, 3737.7)):
            found = layers(network)
            assert len(found) == count
            assert sum(kernel.macs for kernel in found) / 1e6 == pytest.approx(mmacs, rel=1e-3)

    def test_a_row_whose_macs_disagree_is_not_mapped(
        self, adapter: Adapter, path: Path, published: str
    ) -> None:
        path.write_text(published.replace("6.422528", "6.5", 1))
        found = adapter.read(path)
        assert [item.reason[:13] for item in found.unmapped[1:]] == ["mmacs = 6.5, "] * 2


class TestFbNet(AdapterContract):
    suffix, figure = ".json", "960.0"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return FbNet()

    @pytest.fixture
    def published(self) -> str:
        stem = [[1, 224, 224, 3], [32, 3, 3, 3], [32]]
        middle = [[1, 112, 112, 32], [32, 3, 3, 1], [32]]
        records = [
            _operator("Int8ConvRelu", stem, {"kernel": 3, "pad": 1, "stride": 2}, 960.0),
            _operator("Int8ConvRelu", middle, {"kernel": 3, "pad": 1}, 363.0),
            _operator("Int8FC", [[1, 1504], [1000, 1504], [1000]], {}, 410.0),
            _operator("NCHW2NHWC", [[1, 3, 224, 224]], {}, 276.0),
        ]
        return "".join(f"{json.dumps(json.dumps(record))}\n" for record in records)

    def test_microseconds_become_milliseconds(self, adapter: Adapter, path: Path) -> None:
        found = adapter.read(path)
        stem, middle, _ = found.rows.items()
        assert "stride=2" in stem[0].fields
        assert stem[1].latency_ms == 0.96
        assert middle[0].operator == "DepthwiseConv2d"
        assert [item.where for item in found.unmapped] == ["record 4"]


def _operator(
    kind: str, shapes: list[list[int]], arguments: dict[str, int], us: float
) -> dict[str, object]:
    return {
        "op_type": kind,
        "op_args": [f'name: "{name}"\ni: {value}\n' for name, value in arguments.items()],
        "input_shapes": shapes,
        "input_dtypes": [6] * len(shapes),
        "device": "SM-G950U-7.0-24",
        **{f"runtime_us_{p}": us for p in ("p0", "p10", "p50", "p90", "p100")},
    }


class TestHwNasBench(AdapterContract):
    suffix, figure = ".json", "0.53"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return HwNasBench()

    @pytest.fixture
    def published(self) -> str:
        block = "ConvBlock_H32_W32_Cin16_Cout24"
        return json.dumps(
            {
                "ConvNorm_H32_W32_Cin3_Cout16_kernel3_stride1_group1": 0.53,
                f"{block}_exp1_kernel3_stride1_group1": 0.81,
                f"{block}_exp3_kernel5_stride2_group1": 0.92,
                f"{block}_exp1_kernel3_stride1_group2": 0.72,
                "Skip_H32_W32_Cin24_Cout24_stride1": 0.01,
                "AvgP_H4_W4_Cin1504_Cout1504_kernel4_stride1": 0.11,
                "FC_Cin1504_Cout100": 0.23,
            }
        )

    def test_groups_and_skips_have_no_counterpart(self, adapter: Adapter, path: Path) -> None:
        found = adapter.read(path)
        assert len(found.rows) == 5
        assert {item.reason.split()[0] for item in found.unmapped} == {"2", "a"}

    def test_energy_comes_from_a_second_file(self, path: Path, tmp_path: Path) -> None:
        energy = tmp_path / "energy.json"
        energy.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), 2.5)))
        found = HwNasBench(energy=energy).read(path)
        assert {row.energy_mj for row in found.rows.values()} == {2.5}
        energy.write_text(json.dumps({"FC_Cin1504_Cout100": 2.5}))
        found = HwNasBench(energy=energy).read(path)
        assert {row.energy_mj for row in found.rows.values()} == {None}
        assert [finding.kind for finding in found.findings] == ["energy"]


class TestTfNas(AdapterContract):
    suffix, figure = ".json", "0.625"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return TfNas()

    @pytest.fixture
    def published(self) -> str:
        return json.dumps(
            {
                "MBInvertedResBlock_112_16_0_24_k3_s2_relu": {"9": -0.2, "96": 0.625, "97": 0.64},
                "MBInvertedResBlock_28_40_0_40_k3_s1_swish": {"120": 1.5},
            }
        )

    def test_negative_and_foreign_rows_are_told(self, adapter: Adapter, path: Path) -> None:
        found = adapter.read(path)
        assert len(found.rows) == 2
        assert len(found.unmapped) == 2
        assert next(iter(found.rows.values())).latency_ms == 0.625 / 32


class TestSinglePath(AdapterContract):
    suffix, figure = ".json", "4.5"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return SinglePath()

    @pytest.fixture
    def published(self) -> str:
        ms = {"0": 4.5, "1": 7.25, "2": 5.5, "3": 9.75}
        return json.dumps({str(block): ms for block in range(22)})

    def test_the_searched_blocks_are_mapped(self, adapter: Adapter, path: Path) -> None:
        found = adapter.read(path)
        shapes = {(key.inputs, "stride=" in key.fields) for key in found.rows}
        assert ("16x112x112", False) in shapes
        assert ("192x7x7+192x7x7", False) not in shapes
        assert len(found.rows) == 10 * 4
        assert sum("not searched" in item.reason for item in found.unmapped) == 8


class TestHat(AdapterContract):
    figure = "9.92"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return Hat(device="Raspberry Pi 4")

    @pytest.fixture
    def published(self) -> str:
        names = ("latency_mean_encoder", "latency_mean_decoder")
        names += ("latency_std_encoder", "latency_std_decoder")
        rows = ["640,6,9.92,236.75,3.0,4.0", "512,6,8.71,110.5,0.04,1.9"]
        return "\n".join([",".join(("embed", "layers", *names)), *rows, ""])

    def test_a_sample_is_the_whole_network(self, adapter: Adapter, path: Path) -> None:
        first = adapter.read(path).samples[0]
        assert first.latency_ms == pytest.approx(9.92 + 236.75)
        assert first.spread_ms == 5.0
        assert first.features == {"embed": 640, "layers": 6}
        assert first.parts_ms == {"encoder": 9.92, "decoder": 236.75}


class TestSpaceEvo(AdapterContract):
    figure = "0.5288"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return SpaceEvo()

    @pytest.fixture
    def published(self) -> str:
        return (
            "5#72#None_7#56#None,1x56x20x20,0.5477,6.4368,0.0669,0.5288\n"
            "5#64#4_3#72#6,1x24x28x28,0.5373,6.0440,0.0631,0.3860\n"
        )

    def test_features_describe_the_stage(self, adapter: Adapter, path: Path) -> None:
        features = adapter.read(path).samples[1].features
        assert (features["depth"], features["kernel_mean"]) == (2, 4)
        assert (features["expansion_mean"], features["channels"]) == (5, 24)
