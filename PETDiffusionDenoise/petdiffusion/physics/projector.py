"""Projector: line integrals of slices and the exact transpose, as sparse products over many slices at once.

    y = projector.forward(x)      x[..., ny, nx]  ->  y[..., n_angles, n_radial]
    x = projector.back(y)
    projector.shapes, projector.norm

Reconstruction works on *columns*: a slice is a column of a [pixels, slices] or [bins, slices] tensor. That is the
layout in which a sparse product is fastest, since every matrix entry is read once for a whole row of slices.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections import OrderedDict
from functools import cached_property

import scipy.sparse as sparse
import torch

from ..errors import PhysicsError
from . import matrices
from .geometry import ScanGeometry

CACHE_BYTES = 2 << 30
_BLOCK_BYTES = 5 << 20
_FEWEST, _MOST = 16, 32
"""Blocks of 32 slices, or of fewer where they would not stay in the CPU's cache, are fastest (measured)."""
_POWER_STEPS = 30

Matrix = "torch.Tensor | ScipyMatrix"


class Projector:
    """Forward and back projection of slices in one geometry; `subset(i, n)` gives those of an ordered subset."""

    def __init__(self, geometry: ScanGeometry, device: str | torch.device = "cpu", *,
                 dtype: torch.dtype = torch.float32, backend: str = "auto") -> None:
        self.geometry, self.device, self.dtype = geometry, torch.device(device), dtype
        self.backend = backend_for(backend, self.device)
        self.shapes = (geometry.image_shape, geometry.sinogram_shape)
        self._pair = cached(("rays", geometry, self.device, dtype, self.backend), self._build)

    def _build(self) -> tuple:
        rays = matrices.path_lengths(self.geometry)
        return tuple(place(m, self.device, self.dtype, self.backend) for m in (rays, rays.T.tocsr()))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Line integrals (image unit x mm) of slices [..., ny, nx]. Differentiable."""
        return self._apply(image, *self.shapes, self.forward_columns)

    def back(self, sinogram: torch.Tensor) -> torch.Tensor:
        """Transpose of `forward`: <forward(x), y> = <x, back(y)>. Differentiable."""
        return self._apply(sinogram, *self.shapes[::-1], self.back_columns)

    @cached_property
    def norm(self) -> float:
        """Largest singular value, by power iteration from the constant image (the matrix has no negative entry)."""
        x = torch.ones(math.prod(self.shapes[0]), 1, device=self.device, dtype=self.dtype)
        for _ in range(_POWER_STEPS):
            x = self.back_columns(self.forward_columns(x / x.norm()))
        return float(x.norm().sqrt())

    def subset(self, i: int, n: int) -> Projector:
        return Projector(self.geometry.subset(i, n), self.device, dtype=self.dtype, backend=self.backend)

    def forward_columns(self, columns: torch.Tensor) -> torch.Tensor:
        """[pixels, slices] -> [bins, slices]."""
        return SparseProduct.apply(columns, *self._pair)

    def back_columns(self, columns: torch.Tensor) -> torch.Tensor:
        """[bins, slices] -> [pixels, slices]."""
        return SparseProduct.apply(columns, *self._pair[::-1])

    def _apply(self, values: torch.Tensor, shape: tuple, to_shape: tuple, product: object) -> torch.Tensor:
        if tuple(values.shape[-2:]) != shape:
            raise PhysicsError(f"Array of shape {tuple(values.shape)}", f"must end in {shape} for this scan geometry",
                               "Give slices and sinograms that belong to the geometry.")
        out = product(to_columns(values.to(self.device, self.dtype)))
        return from_columns(out, (*values.shape[:-2], *to_shape))


class SparseProduct(torch.autograd.Function):
    """matrix @ columns whose gradient is the stored transpose: torch's own backward is about 30 times slower."""

    @staticmethod
    def forward(ctx, columns, matrix, transpose):
        ctx.pair = transpose, matrix
        return _product(matrix, columns)

    @staticmethod
    def backward(ctx, grad):
        return SparseProduct.apply(grad, *ctx.pair), None, None


def to_columns(values: torch.Tensor) -> torch.Tensor:
    """[..., a, b] -> [a * b, slices]."""
    return values.reshape(-1, values.shape[-2] * values.shape[-1]).T.contiguous()


def from_columns(columns: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """[a * b, slices] -> [..., a, b]."""
    return columns.T.reshape(shape)


def slices_at_once(rows: int) -> int:
    """How many columns of so many rows stay in the cache together."""
    return min(max(_BLOCK_BYTES // (4 * rows), _FEWEST), _MOST)


def _product(matrix: Matrix, columns: torch.Tensor) -> torch.Tensor:
    """In blocks of columns that fit the CPU's cache: wide products are up to five times slower a slice."""
    width = slices_at_once(matrix.shape[1])
    if columns.device.type != "cpu" or columns.shape[1] <= width * 3 // 2:
        return matrix @ columns
    out = columns.new_empty(matrix.shape[0], columns.shape[1])
    for block_in, block_out in zip(columns.split(width, 1), out.split(width, 1)):
        block_out.copy_(matrix @ block_in.contiguous())
    return out


class ScipyMatrix:
    """Stands in for a torch sparse matrix where torch's product needs a library that this build lacks."""

    def __init__(self, matrix: sparse.csr_matrix) -> None:
        self.matrix, self.shape = matrix, matrix.shape

    def __matmul__(self, columns: torch.Tensor) -> torch.Tensor:
        product = self.matrix @ columns.detach().cpu().numpy()
        return torch.from_numpy(product).to(columns.device)


def place(matrix: sparse.csr_matrix, device: torch.device, dtype: torch.dtype, backend: str) -> Matrix:
    """A SciPy matrix where its products will be made."""
    values = torch.from_numpy(matrix.data).to(dtype)
    if backend == "scipy":
        return ScipyMatrix(sparse.csr_matrix((values.numpy(), matrix.indices, matrix.indptr), shape=matrix.shape))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Sparse (CSR|invariant).*")
        return torch.sparse_csr_tensor(torch.from_numpy(matrix.indptr), torch.from_numpy(matrix.indices), values,
                                       matrix.shape, check_invariants=False).to(device)


def backend_for(name: str, device: torch.device) -> str:
    if name not in ("auto", "torch", "scipy"):
        raise PhysicsError(f"Projector backend '{name}'", "is not one of auto, torch, scipy", "Use auto.")
    if name != "auto":
        return name
    fast = device.type == "cuda" or (device.type == "cpu" and torch.backends.mkl.is_available())
    return "torch" if fast else "scipy"


_cache: OrderedDict = OrderedDict()
_lock = threading.Lock()


def cached(key: tuple, build: object) -> tuple:
    """Matrices by geometry; the least recently used go when they outgrow CACHE_BYTES together."""
    with _lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    made = build()
    with _lock:
        _cache[key] = made
        while len(_cache) > 1 and sum(map(_bytes, _cache.values())) > CACHE_BYTES:
            _cache.popitem(last=False)
    return made


def _bytes(pair: tuple) -> int:
    total = 0
    for matrix in pair:
        if isinstance(matrix, ScipyMatrix):
            total += matrix.matrix.data.nbytes + matrix.matrix.indices.nbytes
        else:
            total += sum(t.numel() * t.element_size() for t in (matrix.values(), matrix.col_indices()))
    return total
