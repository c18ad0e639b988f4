"""Speech synthesis: the contract, eSpeak NG, Flite, HTTP servers, a mock, and worker programs."""

from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.espeak import EspeakTextToSpeech
from salon.voice.tts.flite import FliteTextToSpeech
from salon.voice.tts.mock import MockTextToSpeech
from salon.voice.tts.openai import OpenAITextToSpeech
from salon.voice.tts.text import blank, is_speakable, remove_emoji, split_text, to_ascii
from salon.voice.tts.worker import WorkerTextToSpeech
from salon.voice.workers.pool import WorkerPool, WorkerPoolStatistics
from salon.voice.workers.process import WorkerHello, WorkerProcess, WorkerVoice

__all__ = [
    "DEFAULT_VOICE",
    "EspeakTextToSpeech",
    "FliteTextToSpeech",
    "MockTextToSpeech",
    "OpenAITextToSpeech",
    "SpeechChunk",
    "TextToSpeech",
    "VoiceSettings",
    "WorkerHello",
    "WorkerPool",
    "WorkerPoolStatistics",
    "WorkerProcess",
    "WorkerTextToSpeech",
    "WorkerVoice",
    "blank",
    "is_speakable",
    "remove_emoji",
    "split_text",
    "to_ascii",
]
