"""What cells over images have in common: the convolution, and the checks of its sizes."""

import math
from typing import Annotated, Any

from jax import lax

from deeprnn_jax.checks import is_int
from deeprnn_jax.types import Array


def convolve(x: Array, w: Array) -> Array:
    """Convolve images, zeros around them: they keep their shape.

    Args:
      x: `[*B, *image_shape, I]`, any number of batch axes.
      w: `[*K, I, O]`, K odd.

    Returns:
      `[*B, *image_shape, O]`.
    """
    kernel = w.shape[:-2]
    rank = len(kernel)
    first = x.ndim - rank - 1
    batch_shape, image = x.shape[:first], x.shape[first:]
    of_images = (0, rank + 1, *range(1, rank + 1))  # batch, features, and the rest
    of_kernel = (rank + 1, rank, *range(rank))
    found = lax.conv_general_dilated(
        x.reshape(math.prod(batch_shape), *image),
        w,
        window_strides=(1,) * rank,
        padding=[(size // 2, size // 2) for size in kernel],
        dimension_numbers=lax.ConvDimensionNumbers(of_images, of_kernel, of_images),
    )
    return found.reshape(*batch_shape, *found.shape[1:])


def check_image_shape(function: str, argument: str, value: Any) -> None:
    """Raise ValueError unless `value` is one to three sizes."""
    if not isinstance(value, tuple) or not 1 <= len(value) <= 3 or not all(map(is_int, value)):
        raise ValueError(
            f"{function}: {argument} must be a tuple of 1 to 3 ints of 1 or more, got {value!r}; "
            "for example (height, width), or (length,)"
        )


def check_kernel_size(function: str, argument: str, value: Any) -> None:
    """Raise ValueError unless `value` is an odd size, or a tuple of them."""
    sizes = value if isinstance(value, tuple) else (value,)
    if not sizes or not all(is_int(size) and size % 2 for size in sizes):
        raise ValueError(
            f"{function}: {argument} must be an odd int of 1 or more, or a tuple of them, got "
            f"{value!r}; an even kernel has no middle"
        )


ImageShape = Annotated[tuple[int, ...], check_image_shape]
KernelSize = Annotated[int | tuple[int, ...], check_kernel_size]


def kernel_of(
    function: str, argument: str, size: KernelSize, image_shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Give a kernel's size along each axis of an image, or raise ValueError."""
    sizes = size if isinstance(size, tuple) else (size,) * len(image_shape)
    if len(sizes) != len(image_shape):
        raise ValueError(
            f"{function}: {argument} must have one size for each axis of image_shape="
            f"{image_shape}, got {size}; one int is for all"
        )
    return tuple(map(int, sizes))
