"""The semantic encoder: an image to a code without place, and the features FAM compares.

Dang (2025), Sec. 3.1.1: a ResNet whose classifier is replaced by one linear layer. Table 4.1 prints
its input as 1000; the pooled features of a ResNet-50 are 2048.
"""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import ResNet
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FeatureDecoder", "SemanticEncoder"]

DEPTHS: dict[int, tuple[str, tuple[int, int, int, int]]] = {
    18: ("basic", (2, 2, 2, 2)),
    50: ("bottleneck", (3, 4, 6, 3)),
}


class SemanticEncoder(nn.Module):
    """ResNet-18 or -50 shaped encoder.

    Parameters
    ----------
    inputs
        Channels of the images.
    code_features
        Length of the code.
    depth
        18 or 50.
    width
        Channels of the first stage; ResNets have 64.
    stem_norm
        ``"batch"`` as in the source, or ``"group"`` for the first layer only: MONAI's ResNet
        gives its residual blocks batch norm whatever norm is asked for.
    pool
        Whether a max-pool follows the first convolution, as in the source.
    grid
        The last features are averaged over this many by this many parts of the plane before they
        become the code. 1, the mean over the whole plane, is the source's; a finer grid lets the
        code say where things are to a fraction of a pixel.
    """

    def __init__(
        self,
        inputs: int = 1,
        code_features: int = 512,
        *,
        depth: int = 50,
        width: int = 64,
        stem_norm: str = "batch",
        pool: bool = True,
        grid: int = 1,
    ) -> None:
        super().__init__()
        block, layers = DEPTHS[depth]
        self.body = ResNet(
            block,
            list(layers),
            [width, 2 * width, 4 * width, 8 * width],
            spatial_dims=2,
            n_input_channels=inputs,
            conv1_t_stride=2,
            no_max_pool=not pool,
            feed_forward=False,
            bias_downsample=False,
            norm="batch" if stem_norm == "batch" else ("group", {"num_groups": 8}),
        )
        self.grid = grid
        wide = width * (1 if depth == 18 else 4)
        self.widths = (wide, 2 * wide, 4 * wide, 8 * wide)  # channels of the four stages
        self.to_code = nn.Linear(self.widths[-1] * grid**2, code_features)

    def features(self, x: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
        """(b, inputs, y, x) -> one (b, c, y', x') for each ResNet stage in `levels`, 1 to 4."""
        h = self.body.act(self.body.bn1(self.body.conv1(x)))
        h = h if self.body.no_max_pool else self.body.maxpool(h)
        found = []
        for level in range(1, max(levels) + 1):
            h = getattr(self.body, f"layer{level}")(h)
            if level in levels:
                found.append(h)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """(b, inputs, y, x) -> (b, code_features)."""
        parts = F.adaptive_avg_pool2d(self.features(x, (4,))[0], self.grid)
        code: Tensor = self.to_code(parts.flatten(1))
        return code


class FeatureDecoder(nn.Module):
    """Features of all stages to an image.

    Parameters
    ----------
    widths
        Channels of the stages, the finest first.
    outputs
        Channels of the image.
    features
        Channels in between.
    """

    def __init__(self, widths: Sequence[int], outputs: int, features: int = 64) -> None:
        super().__init__()
        self.enter = nn.ModuleList(nn.Conv2d(width, features, 1) for width in widths)
        self.mix = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(features, features, 3, padding=1), nn.GroupNorm(8, features), nn.SiLU()
            )
            for _ in widths
        )
        self.head = nn.Conv2d(features, outputs, 3, padding=1)

    def forward(self, stages: list[Tensor], like: Tensor) -> Tensor:
        """One (b, c, y', x') a stage, the finest first, and images of the wanted size -> image."""
        h = stages[-1].new_zeros(())
        for index in reversed(range(len(stages))):
            entered = self.enter[index](stages[index])
            coarser = F.interpolate(h, entered.shape[-2:], mode="bilinear") if h.ndim else h
            h = self.mix[index](entered + coarser)
        filled: Tensor = self.head(F.interpolate(h, like.shape[-2:], mode="bilinear"))
        return filled
