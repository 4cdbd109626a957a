"""Variational autoencoder of convolutions, for planes and volumes alike.

Bengs et al. (2021), in Behrendt (2026), Sec. 8.1, Fig. 2: strided convolutions down to a vector,
transposed ones back up; only the dimension of the operations differs between 2D and 3D.
"""

from __future__ import annotations

from math import prod

from monai.networks.nets import AutoEncoder
from torch import Tensor, nn

from napari_followup.networks.blocks import check_sides

__all__ = ["VAENetwork", "divergence"]


class VAENetwork(nn.Module):
    """Encoder to the mean and log variance of a code, and decoder.

    Parameters
    ----------
    modalities
        Channels of the images.
    sides
        ``(y, x)`` or ``(z, y, x)`` in pixels, which the linear layers depend on.
    channels
        Width of each level, the finest first; every level halves all sides.
    code_features
        Length of the code.

    Raises
    ------
    ValueError
        If a side cannot be halved that often.
    """

    def __init__(
        self,
        modalities: int,
        sides: tuple[int, ...],
        channels: tuple[int, ...],
        code_features: int,
    ) -> None:
        super().__init__()
        check_sides(sides, 1 << len(channels))
        body = AutoEncoder(
            len(sides),
            modalities,
            modalities,
            channels,
            [2] * len(channels),
            act="leakyrelu",
            norm=("group", {"num_groups": 8}),
        )
        self.encoder, self.decoder = body.encode, body.decode
        self.smallest = (channels[-1], *(side >> len(channels) for side in sides))
        features = prod(self.smallest)
        self.to_mean = nn.Linear(features, code_features)
        self.to_log_variance = nn.Linear(features, code_features)
        self.from_code = nn.Linear(code_features, features)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(b, modality, ...) -> mean and log variance, each (b, code_features)."""
        features = self.encoder(images).flatten(1)
        return self.to_mean(features).float(), self.to_log_variance(features).float()

    def decode(self, codes: Tensor) -> Tensor:
        """(b, code_features) -> (b, modality, ...)."""
        images: Tensor = self.decoder(self.from_code(codes).unflatten(1, self.smallest))
        return images


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of a diagonal Gaussian from the standard one.

    Parameters
    ----------
    mean, log_variance
        ``(b, code_features)``.

    Returns
    -------
    Tensor
        One number: the mean over batch and features, in nats.

    References
    ----------
    Kingma & Welling (2014), appendix B.
    """
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()
