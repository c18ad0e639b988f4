"""Tiny models that sherpa-onnx's own loaders accept. They hear loudness and speak tones.

Recognition: a stretch of 40 ms that is loud says "la", a quiet one nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
LOUD = -3.0
"""Mean of the log-mel features of speech lies above, of silence (-15.9) below."""
STATES: dict[str, tuple[int | str, ...]] = {
    "cached_key_0": (1, "N", 4),
    "cached_nonlin_attn_0": (1, "N", 1, 3),
    "cached_val1_0": (1, "N", 4),
    "cached_val2_0": (1, "N", 4),
    "cached_conv1_0": ("N", 4, 1),
    "cached_conv2_0": ("N", 4, 1),
    "embed_states": ("N", 128, 3, 19),
}
ZIPFORMER = {
    "model_type": "zipformer2",
    "version": "1",
    "encoder_dims": "4",
    "query_head_dims": "4",
    "value_head_dims": "4",
    "num_heads": "1",
    "num_encoder_layers": "1",
    "cnn_module_kernels": "3",
    "left_context_len": "1",
    "T": "4",
    "decode_chunk_len": "4",
}


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray],
    metadata: dict[str, str],
) -> onnx.ModelProto:
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    return model


def _value(name: str, shape: tuple[int | str, ...], kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def _listening(output: str) -> onnx.ModelProto:
    """Features ``[N, 4, 80]`` to ``[N, 1, 3]``: blank, unknown and "la"."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=1),
        helper.make_node("Sub", ["mean", "least"], ["above"]),
        helper.make_node("Mul", ["above", "weights"], [output]),
    ]
    inputs = [_value("x", ("N", 4, 80))]
    outputs = [_value(output, ("N", 1, 3))]
    for name, shape in STATES.items():
        nodes.append(helper.make_node("Identity", [name], [f"new_{name}"]))
        inputs.append(_value(name, shape))
        outputs.append(_value(f"new_{name}", shape))
    nodes.append(helper.make_node("Identity", ["processed_lens"], ["new_processed_lens"]))
    inputs.append(_value("processed_lens", ("N",), INT64))
    outputs.append(_value("new_processed_lens", ("N",), INT64))
    constants = {
        "least": np.array(LOUD, dtype=np.float32),
        "weights": np.array([[[-1.0, -9.0, 1.0]]], dtype=np.float32),
    }
    constants["weights"][0, 0, 1] = 0.0
    return _model(nodes, inputs, outputs, constants, ZIPFORMER)


def _tokens(directory: Path, tokens: tuple[str, ...]) -> str:
    path = directory / "tokens.txt"
    path.write_text("".join(f"{token} {at}\n" for at, token in enumerate(tokens)))
    return str(path)


def zipformer_ctc(directory: Path) -> dict[str, str]:
    """Settings of a streaming model of one file."""
    onnx.save(_listening("log_probs"), directory / "ctc.onnx")
    tokens = _tokens(directory, ("<blk>", "<unk>", "\u2581la"))
    return {"mode": "zipformer2_ctc", "model": str(directory / "ctc.onnx"), "tokens": tokens}


def transducer(directory: Path) -> dict[str, str]:
    """Settings of a streaming model of three."""
    onnx.save(_listening("encoder_out"), directory / "encoder.onnx")
    decoder = _model(
        [
            helper.make_node("Cast", ["y"], ["number"], to=FLOAT),
            helper.make_node("ReduceMean", ["number"], ["mean"], axes=[1], keepdims=1),
            helper.make_node("Mul", ["mean", "zeros"], ["decoder_out"]),
        ],
        [_value("y", ("N", 2), INT64)],
        [_value("decoder_out", ("N", 3))],
        {"zeros": np.zeros((1, 3), dtype=np.float32)},
        {"context_size": "2", "vocab_size": "3"},
    )
    onnx.save(decoder, directory / "decoder.onnx")
    joiner = _model(
        [helper.make_node("Add", ["encoder_out", "decoder_out"], ["logit"])],
        [_value("encoder_out", ("N", 3)), _value("decoder_out", ("N", 3))],
        [_value("logit", ("N", 3))],
        {},
        {"joiner_dim": "3"},
    )
    onnx.save(joiner, directory / "joiner.onnx")
    made = {part: str(directory / f"{part}.onnx") for part in ("encoder", "decoder", "joiner")}
    return made | {"tokens": _tokens(directory, ("<blk>", "<unk>", "\u2581la"))}


def whole_ctc(directory: Path) -> dict[str, str]:
    """Settings of a model that hears the whole utterance: NeMo's, which says a "la" each 80 ms that
    is loud."""
    nodes = [
        helper.make_node("ReduceMean", ["audio_signal"], ["loud"], axes=[1], keepdims=1),
        helper.make_node("Transpose", ["loud"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("Slice", ["frames", "first", "last", "axis", "step"], ["some"]),
        helper.make_node("Mul", ["some", "weights"], ["logprobs"]),
        helper.make_node("Identity", ["length"], ["out_length"]),
    ]
    constants = {
        "first": np.array([0]),
        "last": np.array([2**31]),
        "axis": np.array([1]),
        "step": np.array([8]),
        "weights": np.array([[[1.0, -1.0]]], dtype=np.float32),
    }
    model = _model(
        nodes,
        [_value("audio_signal", ("N", 80, "T")), _value("length", ("N",), INT64)],
        [_value("logprobs", ("N", "F", 2)), _value("out_length", ("N",), INT64)],
        constants,
        {
            "vocab_size": "1",
            "subsampling_factor": "8",
            "normalize_type": "per_feature",
            "model_type": "EncDecCTCModelBPE",
        },
    )
    onnx.save(model, directory / "whole.onnx")
    tokens = _tokens(directory, ("\u2581la", "<blk>"))
    return {"mode": "offline_nemo_ctc", "model": str(directory / "whole.onnx"), "tokens": tokens}


def vits(directory: Path, rate: int = 22_050) -> dict[str, str]:
    """Settings of a voice that sings each character for 1,600 samples."""
    time = np.arange(1_600, dtype=np.float32)[None, None, :] * np.float32(0.02)
    nodes = [
        helper.make_node("Cast", ["x"], ["number"], to=FLOAT),
        helper.make_node("Unsqueeze", ["number", "last"], ["column"]),
        helper.make_node("Mul", ["column", "time"], ["phase"]),
        helper.make_node("Sin", ["phase"], ["wave"]),
        helper.make_node("Mul", ["wave", "half"], ["sound"]),
        helper.make_node("Reshape", ["sound", "shape"], ["y"]),
    ]
    inputs = [_value("x", (1, "L"), INT64), _value("x_length", (1,), INT64)]
    inputs += [_value(name, (1,)) for name in ("noise_scale", "length_scale", "noise_scale_w")]
    inputs.append(_value("sid", (1,), INT64))
    constants = {
        "last": np.array([2]),
        "time": time,
        "half": np.array(0.5, dtype=np.float32),
        "shape": np.array([1, 1, -1]),
    }
    metadata = {
        "model_type": "vits",
        "comment": "characters",
        "frontend": "characters",
        "language": "English",
        "n_speakers": "3",
        "sample_rate": str(rate),
        "add_blank": "0",
        "use_eos_bos": "0",
        "punctuation": "; : , . ! ?",
    }
    model = _model(nodes, inputs, [_value("y", (1, 1, "M"))], constants, metadata)
    onnx.save(model, directory / "vits.onnx")
    path = directory / "characters.txt"
    letters = [*"abcdefghijklmnopqrstuvwxyz", ",", ".", "?", "!", " "]
    path.write_text("".join(f"{letter} {at + 1}\n" for at, letter in enumerate(letters)))
    return {"model": str(directory / "vits.onnx"), "tokens": str(path)}


def gtcrn(directory: Path, gain: float = 1.0) -> str:
    """A denoiser that makes all sound louder or quieter."""
    caches: dict[str, tuple[int, ...]] = {
        "conv_cache": (2, 1, 16, 16, 33),
        "tra_cache": (2, 3, 1, 1, 16),
        "inter_cache": (2, 1, 33, 16),
    }
    nodes = [helper.make_node("Mul", ["mix", "gain"], ["enh"])]
    inputs, outputs = [_value("mix", (1, 257, 1, 2))], [_value("enh", (1, 257, 1, 2))]
    for name, shape in caches.items():
        nodes.append(helper.make_node("Identity", [name], [f"{name}_out"]))
        inputs.append(_value(name, shape))
        outputs.append(_value(f"{name}_out", shape))
    metadata = {
        "model_type": "gtcrn",
        "sample_rate": "16000",
        "n_fft": "512",
        "hop_length": "256",
        "window_length": "512",
        "window_type": "hann_sqrt",
        "version": "1",
        **{f"{name}_shape": ",".join(map(str, shape)) for name, shape in caches.items()},
    }
    constants = {"gain": np.array(gain, dtype=np.float32)}
    path = directory / "gtcrn.onnx"
    onnx.save(_model(nodes, inputs, outputs, constants, metadata), path)
    return str(path)
