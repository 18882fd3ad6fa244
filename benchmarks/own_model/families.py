"""The networks that the benchmark of tracing reads: all of torchvision, 60 families of timm."""

from __future__ import annotations

import contextlib
import importlib
import sys

import torch
from torch import Tensor, nn

# Family of timm -> a small member.
TIMM = {
    "byoanet": "halonet_h1",
    "byobnet": "mobileone_s1",
    "cait": "cait_xxs24_224",
    "coat": "coat_tiny",
    "convit": "convit_tiny",
    "convmixer": "convmixer_768_32",
    "convnext": "convnext_atto",
    "crossvit": "crossvit_tiny_240",
    "cspnet": "cs3darknet_focus_s",
    "davit": "davit_tiny",
    "deit": "deit_tiny_patch16_224",
    "densenet": "densenet121",
    "dla": "dla46x_c",
    "dpn": "dpn48b",
    "edgenext": "edgenext_xx_small",
    "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0",
    "efficientnet": "tinynet_e",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "eva": "eva02_tiny_patch14_224",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b",
    "hgnet": "hgnetv2_b0",
    "hiera": "hiera_tiny_224",
    "hrnet": "hrnet_w18_small",
    "inception_next": "inception_next_atto",
    "lcnetv2": "lcnetv2_small",
    "levit": "levit_128",
    "mambaout": "mambaout_femto",
    "maxxvit": "maxvit_pico_rw_256",
    "metaformer": "poolformerv2_s12",
    "mlp_mixer": "gmlp_ti16_224",
    "mobilenetv3": "mobilenetv3_small_050",
    "mobilevit": "mobilevit_xxs",
    "mvitv2": "mvitv2_tiny",
    "nest": "nest_tiny",
    "nfnet": "nf_regnet_b0",
    "pit": "pit_ti_224",
    "pvt_v2": "pvt_v2_b0",
    "regnet": "regnetx_002",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m0_9",
    "resnest": "resnest14d",
    "resnet": "resnet10t",
    "rexnet": "rexnet_100",
    "senet": "legacy_seresnet18",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs",
    "swin_transformer_v2": "swinv2_tiny_window8_256",
    "tiny_vit": "tiny_vit_5m_224",
    "twins": "twins_svt_small",
    "visformer": "visformer_tiny",
    "vision_transformer": "vit_tiny_patch16_224",
    "xcit": "xcit_nano_12_p16_224",
}
LARGEST = 45_000_000  # parameters of the largest network that a run of few GB reads
SIDES = (64, 96, 128, 224, 240, 256)
IMAGES = 4


def prepare_torchvision() -> None:
    """Declare torchvision's compiled operators where its wheel cannot load them.

    The wheel of PyPI is made for a torch with CUDA; beside a torch for CPUs, its import fails for
    lack of declarations of operators that no classification model runs.
    """
    with contextlib.suppress(RuntimeError):
        importlib.import_module("torchvision")
        return
    for loaded in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[loaded]  # half of a package
    library = torch.library.Library("torchvision", "DEF")
    for name in _COMPILED.split():
        library.define(f"{name}(Tensor x) -> Tensor")
    _KEPT.append(library)


_COMPILED = """nms qnms roi_align _roi_align_backward ps_roi_align _ps_roi_align_backward roi_pool
_roi_pool_backward ps_roi_pool _ps_roi_pool_backward qroi_align deform_conv2d
_deform_conv2d_backward"""
_KEPT: list[object] = []  # declarations vanish with their library


def names() -> list[str]:
    """All names, `PACKAGE:MODEL`; those of torchvision in its own order."""
    from torchvision import models  # pyright: ignore[reportMissingImports]

    listed = models.list_models(module=models)
    return [*(f"timm:{name}" for name in TIMM.values()), *(f"torchvision:{n}" for n in listed)]


def parameters(name: str) -> int:
    """The number of parameters of a network, which is not made for this."""
    package, _, model = name.partition(":")
    if package == "torchvision":  # some of whose networks compute their widths with tensors
        from torchvision import models  # pyright: ignore[reportMissingImports]

        return models.get_model_weights(model).DEFAULT.meta["num_params"]
    with torch.device("meta"):
        return sum(held.numel() for held in _made(name, None).parameters())


def built(name: str, *, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A network with random numbers in all parameters, and images of the least possible side.

    Raises:
        ValueError: If the network reads images of none of the sides.
    """
    torch.manual_seed(seed)
    why: Exception | None = None
    for side in SIDES:
        images = torch.randn(IMAGES, 3, side, side)
        try:
            model = _made(name, side)
            with torch.no_grad():
                model.eval()(images[:2])
        except Exception as error:  # noqa: BLE001  # every model has its own
            why = error
            continue
        return _randomized(model, images), images
    raise ValueError(f"{name} reads none of the sides {SIDES}") from why


def _made(name: str, side: int | None) -> nn.Module:
    package, _, model = name.partition(":")
    if package == "torchvision":
        from torchvision import models  # pyright: ignore[reportMissingImports]

        sized = {"image_size": side} if side and model.startswith("vit_") else {}
        quiet = {"init_weights": False} if model in ("googlenet", "inception_v3") else {}
        return models.get_model(model, weights=None, **sized, **quiet)
    import timm  # pyright: ignore[reportMissingImports]

    if side is None:
        return timm.create_model(model)
    try:
        return timm.create_model(model, img_size=side)
    except TypeError:  # a network that reads any size
        return timm.create_model(model)


@torch.no_grad()
def _randomized(model: nn.Module, images: Tensor) -> nn.Module:
    """The network without parts that do nothing: factors of zero, and norms of raw statistics."""
    for parameter in model.parameters():
        if parameter.numel() and float(parameter.max() - parameter.min()) < 1e-3:
            parameter.add_(0.2 * torch.randn_like(parameter))
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d):
            norm.train()
            norm.momentum = 0.5
    model(images)
    return model.eval()
