"""Floor 2: what sound is: frames, formats, codecs, resampling, mixing, WAV. numpy, no asyncio."""

from salon.media.codec import (
    CODEC_NAMES,
    TELEPHONE_RATE,
    AudioCodec,
    G722Codec,
    PcmaCodec,
    PcmCodec,
    PcmuCodec,
    make_codec,
)
from salon.media.conform import (
    FrameResampler,
)
from salon.media.errors import (
    MediaError,
    WavError,
)
from salon.media.fade import (
    Fade,
    fade_in,
    fade_out,
)
from salon.media.frame import (
    FRAME_BYTES,
    FRAME_MS,
    FRAME_SAMPLES,
    SAMPLE_RATE,
    SILENCE,
    AudioChunk,
    AudioFormat,
    AudioFrame,
    Samples,
)
from salon.media.framer import (
    Framer,
)
from salon.media.g711 import (
    decode_alaw,
    decode_ulaw,
    encode_alaw,
    encode_ulaw,
)
from salon.media.g722 import (
    G722Decoder,
    G722Encoder,
)
from salon.media.level import (
    FLOOR_DBFS,
    Level,
    LevelMeter,
    from_dbfs,
    peak_dbfs,
    rms_dbfs,
    to_dbfs,
)
from salon.media.mixer import (
    Mixer,
    soft_limit,
)
from salon.media.noise import (
    add_low_noise,
    add_noise_at_snr,
    low_noise,
)
from salon.media.pacing import (
    PERIOD_NS,
    Pacer,
)
from salon.media.pcm import (
    decode_pcm,
    to_int16,
    to_mono,
)
from salon.media.resample import (
    PASS_BAND,
    Resampler,
    resample,
)
from salon.media.timing import (
    PhonemeTime,
    WordTime,
)
from salon.media.tone import (
    Tone,
    sine,
)
from salon.media.wav import (
    MAX_WAV_BYTES,
    RiffHeaderStripper,
    WavWriter,
    read_wav,
    strip_riff_header,
    wav_bytes,
    write_wav,
)

__all__ = [
    "CODEC_NAMES",
    "FLOOR_DBFS",
    "FRAME_BYTES",
    "FRAME_MS",
    "FRAME_SAMPLES",
    "MAX_WAV_BYTES",
    "PASS_BAND",
    "PERIOD_NS",
    "SAMPLE_RATE",
    "SILENCE",
    "TELEPHONE_RATE",
    "AudioChunk",
    "AudioCodec",
    "AudioFormat",
    "AudioFrame",
    "Fade",
    "FrameResampler",
    "Framer",
    "G722Codec",
    "G722Decoder",
    "G722Encoder",
    "Level",
    "LevelMeter",
    "MediaError",
    "Mixer",
    "Pacer",
    "PcmCodec",
    "PcmaCodec",
    "PcmuCodec",
    "PhonemeTime",
    "Resampler",
    "RiffHeaderStripper",
    "Samples",
    "Tone",
    "WavError",
    "WavWriter",
    "WordTime",
    "add_low_noise",
    "add_noise_at_snr",
    "decode_alaw",
    "decode_pcm",
    "decode_ulaw",
    "encode_alaw",
    "encode_ulaw",
    "fade_in",
    "fade_out",
    "from_dbfs",
    "low_noise",
    "make_codec",
    "peak_dbfs",
    "read_wav",
    "resample",
    "rms_dbfs",
    "sine",
    "soft_limit",
    "strip_riff_header",
    "to_dbfs",
    "to_int16",
    "to_mono",
    "wav_bytes",
    "write_wav",
]
