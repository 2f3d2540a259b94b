"""MTCNN with facenet-pytorch's networks and the same boxes, several times faster on a processor.

What differs from `facenet_pytorch.MTCNN.detect`: the networks compute on channels-last pixels; one table of sums a
frame gives every scaled view of it, in place of a pooling call each, with the same means; and one frame after another
goes through the networks, which stays in the processor's caches and makes a frame's boxes independent of the other
frames of its clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from extract.media.frames import Image
from extract.workers import one_torch_thread

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Found = tuple[Floats, Floats, Floats]
SMALLEST = 20  # pixels: of a face, and of a frame's shorter side
WINDOW = 12  # pixels of the first network's window
FACTOR = 0.709  # from one size of the pyramid to the next
THRESHOLDS = (0.6, 0.7, 0.7)  # of the three networks, as in facenet-pytorch
FRAMES_ON_GPU = 32  # in one batch; on a processor single frames are faster
CANDIDATES = 512  # in one batch of the second and third network


Frames = Sequence["_Summed"]


class Cascade:
    """The three networks, one behind the other.

    Parameters
    ----------
    device : str, optional
        By default a GPU where there is one.
    """

    def __init__(self, device: str | None = None) -> None:
        import torch
        from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._nets = [
            net().eval().to(self.device, memory_format=torch.channels_last) for net in (PNet, RNet, ONet)
        ]
        self._batch = FRAMES_ON_GPU if self.device.type == "cuda" else 1

    def detect(self, frames: Sequence[Image], *, smallest: float, start: float = SMALLEST) -> Iterator[Found]:
        """Find the faces of at least `smallest` pixels in frames of one shape, (h, w, 3) uint8 RGB.

        Smaller ones may be found, too.

        Parameters
        ----------
        start : float
            Pixels of the faces that the scales start from, as `pyramid` takes it.

        Yields
        ------
        boxes (n, 4), confidences (n,), landmarks (n, 5, 2), all float32
            One triple a frame, in their order.
        """
        import torch

        for first in range(0, len(frames), self._batch):
            with torch.inference_mode(), one_torch_thread():
                summed = [_Summed(frame) for frame in frames[first : first + self._batch]]
                found = self._search(summed, pyramid(summed[0].shape, smallest, start=start))
            yield from found

    def _search(self, frames: Frames, scales: Sequence[float]) -> list[Found]:
        boxes, owners = self._propose(frames, scales)
        boxes, owners = self._refine(frames, boxes, owners)
        boxes, owners, points = self._settle(frames, boxes, owners)
        table, marks, which = (value.cpu().numpy() for value in (boxes, points, owners))
        return [(table[which == i, :4], table[which == i, 4], marks[which == i]) for i in range(len(frames))]

    def _propose(self, frames: Frames, scales: Sequence[float]) -> tuple[torch.Tensor, torch.Tensor]:
        """Slide the first network over the pyramid: candidates (n, 5) and the frame of each."""
        import torch
        from facenet_pytorch.models.utils.detect_face import generateBoundingBox, rerec
        from torchvision.ops.boxes import batched_nms

        found, owners = [], []
        for scale in scales:
            reg, chances = self._nets[0](self._tensor(np.stack([frame.scaled(scale) for frame in frames])))
            boxes, owner = generateBoundingBox(reg, chances[:, 1], scale, THRESHOLDS[0])
            kept = batched_nms(boxes[:, :4], boxes[:, 4], owner, 0.5)
            found.append(boxes[kept])
            owners.append(owner[kept])
        boxes, owner = torch.cat(found), torch.cat(owners)
        kept = batched_nms(boxes[:, :4], boxes[:, 4], owner, 0.7)
        boxes, owner = boxes[kept], owner[kept]
        sides = boxes[:, 2:4] - boxes[:, 0:2]
        corners = boxes[:, :4] + boxes[:, 5:9] * sides.repeat(1, 2)
        return rerec(torch.cat([corners, boxes[:, 4:5]], dim=1)), owner

    def _refine(
        self, frames: Frames, boxes: torch.Tensor, owners: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Judge and move the candidates by the second network."""
        import torch
        from facenet_pytorch.models.utils.detect_face import bbreg, rerec
        from torchvision.ops.boxes import batched_nms

        boxes, owners, (reg, chances) = self._judge(1, frames, boxes, owners)
        sure = chances[:, 1] > THRESHOLDS[1]
        boxes, owners = torch.cat([boxes[sure, :4], chances[sure, 1:2]], dim=1), owners[sure]
        kept = batched_nms(boxes[:, :4], boxes[:, 4], owners, 0.7)
        return rerec(bbreg(boxes[kept], reg[sure][kept])), owners[kept]

    def _settle(
        self, frames: Frames, boxes: torch.Tensor, owners: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Judge what is left by the third network, which also gives the landmarks."""
        import torch
        from facenet_pytorch.models.utils.detect_face import batched_nms_numpy, bbreg

        boxes, owners, (reg, marks, chances) = self._judge(2, frames, boxes, owners)
        sure = chances[:, 1] > THRESHOLDS[2]
        boxes, owners = torch.cat([boxes[sure, :4], chances[sure, 1:2]], dim=1), owners[sure]
        sides = boxes[:, 2:4] - boxes[:, 0:2] + 1
        points = sides[:, None] * marks[sure].reshape(-1, 2, 5).transpose(1, 2) + boxes[:, None, 0:2] - 1
        boxes = bbreg(boxes, reg[sure])
        kept = batched_nms_numpy(boxes[:, :4], boxes[:, 4], owners, 0.7, "Min")
        return boxes[kept], owners[kept], points[kept]

    def _judge(
        self, number: int, frames: Frames, boxes: torch.Tensor, owners: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Put what each box shows through a network; boxes that lie outside their frame are dropped."""
        import torch

        height, width = frames[0].shape[:2]
        corners = boxes[:, :4].trunc().int().cpu().numpy()
        low = np.maximum(corners[:, :2], 1) - 1
        high = np.minimum(corners[:, 2:], (width, height))
        there = (high > low).all(axis=1)
        views = np.empty((int(there.sum()), 24 * number, 24 * number, 3), np.float32)
        which = owners.cpu().numpy()[there]
        for i, frame in enumerate(frames):
            mine = which == i
            views[mine] = frame.cut(low[there][mine], high[there][mine], side=24 * number)
        mask = torch.from_numpy(there).to(self.device)
        # A network takes one view at least.
        padded = views if len(views) else np.zeros((1, *views.shape[1:]), np.float32)
        starts = range(0, len(padded), CANDIDATES)
        answers = [self._nets[number](self._tensor(padded[start : start + CANDIDATES])) for start in starts]
        heads = [torch.cat(head)[: len(views)] for head in zip(*answers, strict=True)]
        return boxes[mask], owners[mask], heads

    def _tensor(self, pixels: Floats) -> torch.Tensor:
        """Means of pixels (n, h, w, 3) -> (n, 3, h, w) float32 in [-1, 1], channels last in memory."""
        import torch

        return (torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2) - 127.5) * 0.0078125


class _Summed:
    """A frame as a table of sums, which gives the mean of any rectangle with four look-ups."""

    def __init__(self, frame: Image) -> None:
        self.shape = frame.shape
        self._sums = cv2.integral(frame, sdepth=cv2.CV_32S)

    def scaled(self, scale: float) -> Floats:
        """Scale the whole frame: (h, w, 3) float32."""
        height, width = (int(side * scale + 1) for side in self.shape[:2])
        rows, columns = _bins(0, self.shape[0], height), _bins(0, self.shape[1], width)
        bands = self._sums[rows[1]] - self._sums[rows[0]]  # whole rows first: fewer look-ups than box by box
        sums = bands[:, columns[1]] - bands[:, columns[0]]
        areas = np.outer(rows[1] - rows[0], columns[1] - columns[0]).astype(np.float32)
        return np.asarray(sums.astype(np.float32) / areas[..., None], np.float32)

    def cut(self, low: Ints, high: Ints, *, side: int) -> Floats:
        """Cut out boxes from `low` to `high`, (n, 2) columns and rows, and scale them: (n, side, side, 3)."""
        rows, columns = (_bins(low[:, i, None], high[:, i, None], side) for i in (1, 0))
        top, bottom, left, right = (
            rows[0][..., None],
            rows[1][..., None],
            columns[0][:, None],
            columns[1][:, None],
        )
        sums = (
            self._sums[bottom, right]
            - self._sums[top, right]
            - self._sums[bottom, left]
            + self._sums[top, left]
        )
        areas = ((bottom - top) * (right - left)).astype(np.float32)
        return np.asarray(sums.astype(np.float32) / areas[..., None], np.float32)


def _bins(low: int | Ints, high: int | Ints, count: int) -> tuple[Ints, Ints]:
    """Cut a stretch of pixels into `count` bins, as adaptive pooling does: first pixels and ends, (..., count)."""
    steps, length = np.arange(count), np.asarray(high) - low
    return np.asarray(low + steps * length // count), np.asarray(low - (-(steps + 1) * length // count))


def pyramid(shape: Sequence[int], smallest: float, *, start: float = SMALLEST) -> list[float]:
    """Scales of a frame at which the first network's window shows faces of every size, largest scale first.

    They are always those that start from faces of `start` pixels, without the scales that only faces smaller
    than `smallest` need: what is left gives the same candidates whatever was left out.
    """
    scale, scales = WINDOW / start, []
    while min(shape[:2]) * scale >= WINDOW:
        scales.append(scale)
        scale *= FACTOR
    needed = [scale for scale in scales if WINDOW / (scale * FACTOR) > smallest]
    return needed or scales[-1:]
