"""Adapters for published latency tables: each reads one format and maps its figures to kernels.

Read the modules in this order: `imported` (the result of an import), `adapter` (the protocol),
`collect` (the checks). Then read any format, such as `apq` (convolutions) or `ofa` (blocks), and
`writing`, which makes targets.
"""

from nas.targets.adapters.adapter import Adapter
from nas.targets.adapters.apq import Apq
from nas.targets.adapters.dpu_blocks import DpuBlocks
from nas.targets.adapters.fbnet import FbNet
from nas.targets.adapters.haq import Haq
from nas.targets.adapters.hat import Hat
from nas.targets.adapters.hawq import Hawq
from nas.targets.adapters.hwnasbench import HwNasBench
from nas.targets.adapters.imported import Imported
from nas.targets.adapters.ofa import Ofa, Proxyless
from nas.targets.adapters.single_path import SinglePath
from nas.targets.adapters.spaceevo import SpaceEvo
from nas.targets.adapters.tfnas import TfNas
from nas.targets.adapters.writing import target, write

ADAPTERS: dict[str, type[Adapter]] = {
    adapter.format: adapter
    for adapter in (
        *(Ofa, Proxyless, DpuBlocks, FbNet, HwNasBench, Hat),
        *(TfNas, SinglePath, Apq, Haq, Hawq, SpaceEvo),
    )
}

__all__ = ["ADAPTERS", "Adapter", "Imported", "target", "write"]
