"""Cross-layer equalisation adapted to ReLU6: same float function, better use of the int8 range.

Folding batch normalisation leaves channels of very different reach, and int8 gives all channels of
a tensor one step size, so quiet channels drown in rounding. Scaling channel c of one layer up by
s[c] and the matching inputs of the next layer down by s[c] changes nothing in float (Nagel et al.
2019, arXiv:1906.04721) as long as the nonlinearity between them commutes with the scaling. ReLU6
does not: it clips at 6. So channels are only ever scaled up, and only until the largest activation
seen on training pictures comes near 6: what was not clipped before is not clipped after.

Works on plain arrays; TensorFlow is needed only to watch activations, in `watch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.networks.mobilenet import Network, Weights, blocks, normalise

CEILING = 6.0
HEADROOM = 1.1
"""Activations on new pictures may pass the largest one seen by this factor before they clip."""
LARGEST_SCALE = 64.0
"""Bound for channels that are (nearly) never active, whose largest activation says little."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
ACTIVATION_LEVELS = 255.0
WEIGHT_LEVELS = 127.0


@dataclass(frozen=True, slots=True)
class Reach:
    """What a layer's output was seen to reach, per channel: float32 (channels,) each."""

    largest: Array
    mean_square: Array


def watch(weights: Weights, squares: Array) -> dict[str, Reach]:
    """What each layer's output reaches for training pictures, uint8 (n, 224, 224, 3)."""
    import tensorflow as tf

    network = Network(weights)

    def measure(pixels: Any) -> dict[str, tuple[Any, Any]]:
        taps: dict[str, Any] = {}
        network.embed(normalise(tf.cast(pixels, tf.float32)), taps)
        axes = [0, 1, 2]
        return {
            name: (tf.reduce_max(tf.abs(x), axes), tf.reduce_mean(tf.square(x), axes))
            for name, x in taps.items()
        }

    compiled = tf.function(measure)
    batches = [compiled(squares[i : i + 16]) for i in range(0, len(squares), 16)]
    return {
        name: Reach(
            np.max([batch[name][0] for batch in batches], axis=0),
            np.mean([batch[name][1] for batch in batches], axis=0),
        )
        for name in batches[0]
    }


def equalise(weights: Weights, reach: Mapping[str, Reach]) -> Weights:
    """Equalise every pair of layers of the network; the input is not changed.

    Three kinds of pairs, each free to choose one positive number per channel:
    a convolution before a depthwise one (both have a step size per channel, so the full scale costs
    nothing), a depthwise convolution before a projection, and a projection before the expansions
    that read it, through the residual sums (linear, so no clipping bounds it).
    """
    equal = {name: array.copy() for name, array in weights.items()}
    for block in blocks():
        first = block.expand or "Conv1"
        scale_channels(equal, [first], [block.depthwise], room(reach[first].largest))
        seen = reach[block.depthwise]
        _balance(equal, [block.depthwise], [block.project], seen, room(seen.largest))
    for producers, consumers in streams():
        seen = Reach(
            np.max([reach[layer].largest for layer in producers], axis=0),
            np.max([reach[layer].mean_square for layer in producers], axis=0),
        )
        evened = np.clip(seen.largest.max() / np.maximum(seen.largest, 1e-6), 1.0, LARGEST_SCALE)
        _balance(equal, producers, consumers, seen, evened.astype(np.float32))
    return equal


def room(largest: Array) -> Array:
    """The factor by which each channel may grow before ReLU6 would clip it; at least 1."""
    grown = CEILING / (HEADROOM * np.maximum(largest, 1e-6))
    return np.clip(grown, 1.0, LARGEST_SCALE).astype(np.float32)


def scale_channels(
    weights: Weights, producers: Sequence[str], consumers: Sequence[str], scale: Array
) -> None:
    """Multiply what `producers` write by `scale`, (channels,); divide it where `consumers` read it.

    Changes the dictionary in place.
    """
    for layer in producers:
        shape = (-1, 1) if layer.endswith("depthwise") else (-1,)
        weights[f"{layer}/kernel"] *= scale.reshape(shape)
        weights[f"{layer}/bias"] *= scale
    for layer in consumers:
        weights[f"{layer}/kernel"] /= scale.reshape(-1, 1)


def rounding_noise(kernel: Array, largest: Array, mean_square: Array, scale: Array) -> float:
    """Predicted mean square error of a 1x1 convolution from rounding its input and its kernel.

    Rounding to steps of d is taken as noise of variance d^2 / 12 (Widrow), independent of the
    signal. The input has one step for the tensor, the kernel one for each output channel.

    kernel: float (inputs, outputs), before scaling. largest, mean_square: of each input channel
    before scaling, float (inputs,). scale: float (inputs,), what input channels are multiplied by
    and kernel rows divided by.

    Returns the error summed over output channels, in squared units of the output.
    """
    scaled = kernel / scale[:, None]
    input_step = np.max(largest * scale) / ACTIVATION_LEVELS
    kernel_steps = np.max(np.abs(scaled), axis=0) / WEIGHT_LEVELS
    from_input = input_step**2 / 12.0 * np.sum(np.square(scaled))
    from_kernel = np.sum(kernel_steps**2) / 12.0 * np.sum(mean_square * np.square(scale))
    return float(from_input + from_kernel)


def _balance(
    weights: Weights, producers: Sequence[str], consumers: Sequence[str], reach: Reach, full: Array
) -> None:
    """Scale channels up as far as the consumers' own rounding allows, at most by `full`."""
    kernel = np.concatenate([weights[f"{layer}/kernel"][0, 0] for layer in consumers], axis=1)
    scale = min(
        (full**strength for strength in STRENGTHS),
        key=lambda scale: rounding_noise(kernel, reach.largest, reach.mean_square, scale),
    )
    scale_channels(weights, producers, consumers, scale)


def streams() -> list[tuple[list[str], list[str]]]:
    """The residual streams: (projections that write one, expansions that read it), in order."""
    found: list[tuple[list[str], list[str]]] = []
    for block in blocks():
        if found and block.expand:
            found[-1][1].append(block.expand)
        if block.residual:
            found[-1][0].append(block.project)
        else:
            found.append(([block.project], []))
    found[-1][1].append("Conv_1")
    return found
