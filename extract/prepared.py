"""A network with its preprocessing as one module, so that whatever computes it computes both."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PREPROCESSING = 1  # of `preprocess` below: raise it when it gives other inputs


class FacesToFeatures(nn.Module):
    """Turns (n, s, s, 3) uint8 RGB faces into (n, d) features.

    Parameters
    ----------
    network : Module
        Takes (n, 3, size, size) float32.
    size : int
        Side of its input, pixels.
    crop_fraction : float
        Share of the face that it sees, cut from the middle.
    mean, std : tuple of float
        One number a channel, in units of the brightest pixel.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        size: int,
        crop_fraction: float,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.network, self.size = network, size
        self.seen = round(size / crop_fraction)
        self.register_buffer("pixel_mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def preprocess(self, faces: Tensor) -> Tensor:
        """Scale faces to the network's input and normalise them: (n, 3, size, size) float32."""
        x = faces.permute(0, 3, 1, 2).float() / 255
        if x.shape[-1] != self.seen:
            x = F.interpolate(x, size=(self.seen, self.seen), mode="bicubic", antialias=True).clamp(0, 1)
        edge = (self.seen - self.size) // 2
        return (x[..., edge : edge + self.size, edge : edge + self.size] - self.pixel_mean) / self.pixel_std

    def forward(self, faces: Tensor) -> Tensor:
        features: Tensor = self.network(self.preprocess(faces))
        return features
