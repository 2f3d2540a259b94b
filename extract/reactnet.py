"""ReActNet-A, a binary network (Liu et al., ECCV 2020, arXiv:2003.03488), for inference.

Every 3x3 and 1x1 convolution but the first has weights -alpha or +alpha (one alpha an output channel) and
inputs -1 or +1; 0 appears from zero padding and where an input is exactly zero, as in the authors' code.
Names and shapes of the parameters are those of the published checkpoint, so that it loads strictly.
"""

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Output channels of each block; the stride is 2 wherever they grow, except at the first block.
CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
FEATURES = CHANNELS[-1]


class Shift(nn.Module):
    """Adds one learned number a channel: the shift in RSign and RPReLU (paper, section 4.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class BinaryConv(nn.Module):
    """Convolution with the sign of its weights, scaled by the mean magnitude of each output channel's weights.

    `weights` are real numbers, stored flat as in the published checkpoint; the binary kernel is derived from
    them (XNOR-Net's scaling, Rastegari et al. 2016, as the ReActNet paper uses it).
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.padding = stride, kernel // 2
        self.shape = (outputs, inputs, kernel, kernel)
        # Symmetric and of unit gain: all-positive weights (the authors' start) would make every sign +1.
        bound = math.sqrt(3 / (inputs * kernel * kernel))
        self.weights = nn.Parameter(torch.empty(math.prod(self.shape), 1).uniform_(-bound, bound))

    def alpha(self) -> Tensor:
        """Return the mean magnitude of each output channel's weights: (outputs, 1, 1, 1)."""
        return self.weights.view(self.shape).abs().mean(dim=(1, 2, 3), keepdim=True)

    def signs(self) -> Tensor:
        """Return the kernel (outputs, inputs, k, k) without its scale: -1 or +1.

        A weight of exactly zero counts as positive, so that the kernel is binary whatever the weights.
        """
        return torch.where(self.weights.view(self.shape) < 0, -1.0, 1.0).to(self.weights.dtype)

    def kernel(self) -> Tensor:
        """Return the binary kernel (outputs, inputs, k, k): -alpha or +alpha in each output channel."""
        return self.alpha() * self.signs()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve signs with signs, then scale: sums of -1, 0 and +1 are exact, in whatever order they are added."""
        sums = F.conv2d(x, self.signs(), stride=self.stride, padding=self.padding)
        return sums * self.alpha().view(1, -1, 1, 1)


class Block(nn.Module):
    """A binary 3x3 and a binary 1x1 convolution, each with a real shortcut around it.

    Where the channels double, the 1x1 convolution is run twice over the same inputs and the results, each with
    the shortcut, are concatenated: duplication instead of a real-valued downsampling layer.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.stride, self.doubles = stride, inputs != outputs
        self.move11 = Shift(inputs)
        self.binary_3x3 = BinaryConv(inputs, inputs, kernel=3, stride=stride)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.move12, self.prelu1, self.move13 = Shift(inputs), nn.PReLU(inputs), Shift(inputs)
        self.move21 = Shift(inputs)
        if self.doubles:
            self.binary_pw_down1 = BinaryConv(inputs, inputs, kernel=1)
            self.binary_pw_down2 = BinaryConv(inputs, inputs, kernel=1)
            self.bn2_1, self.bn2_2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(inputs)
        else:
            self.binary_pw = BinaryConv(inputs, outputs, kernel=1)
            self.bn2 = nn.BatchNorm2d(outputs)
        self.move22, self.prelu2, self.move23 = Shift(outputs), nn.PReLU(outputs), Shift(outputs)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.avg_pool2d(x, 2) if self.stride == 2 else x
        x = self.bn1(self.binary_3x3(self.move11(x).sign())) + shortcut
        x = self.move13(self.prelu1(self.move12(x)))
        return cast(Tensor, self.move23(self.prelu2(self.move22(self._pointwise(x)))))

    def _pointwise(self, x: Tensor) -> Tensor:
        signs = self.move21(x).sign()
        if not self.doubles:
            return cast(Tensor, self.bn2(self.binary_pw(signs)) + x)
        first = self.bn2_1(self.binary_pw_down1(signs)) + x
        second = self.bn2_2(self.binary_pw_down2(signs)) + x
        return torch.cat([first, second], dim=1)


class Stem(nn.Module):
    """The first convolution, which stays real-valued."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, outputs, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.bn1(self.conv1(x)))


class ReActNetA(nn.Module):
    """ReActNet-A: (n, 3, h, w) float32 normalised images -> (n, 1000) logits, or (n, 1024) without the head."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(CHANNELS))
        blocks = [Block(a, b, stride=2 if a != b and i > 0 else 1) for i, (a, b) in enumerate(pairs)]
        self.feature = nn.ModuleList([Stem(CHANNELS[0]), *blocks])
        self.fc: nn.Module = nn.Linear(FEATURES, 1000)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head, as timm's models do; 0 removes it."""
        self.fc = nn.Linear(FEATURES, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.feature:
            x = layer(x)
        return cast(Tensor, self.fc(x.mean(dim=(2, 3))))
