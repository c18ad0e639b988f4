"""The voices of Deepgram's Aura, as far as they are known without asking."""

from __future__ import annotations

from typing import Final

from salon.voice.voices import VoiceInfo

_FAMILIES: Final = {
    ("aura-2", "en"): (
        "amalthea andromeda apollo arcas aries asteria athena atlas aurora callista cora cordelia "
        "delia draco electra harmonia helena hera hermes hyperion iris janus juno jupiter luna "
        "mars minerva neptune odysseus ophelia orion orpheus pandora phoebe pluto saturn selene "
        "thalia theia vesta zeus"
    ),
    ("aura-2", "es"): (
        "agustina alvaro antonia aquila carina celeste diana estrella gloria javier luciano nestor "
        "olivia selena silvia sirio valerio"
    ),
    ("aura-2", "de"): "aurelia elara fabian julius kara lara viktoria",
    ("aura-2", "nl"): "beatrix cornelia daphne hestia lars leda rhea roman sander",
    ("aura-2", "fr"): "agathe hector",
    ("aura-2", "it"): "cesare cinzia demetra dionisio elio flavio livia maia melia",
    ("aura-2", "ja"): "ama ebisu fujin izanami uzume",
    ("aura", "en"): (
        "angus arcas asteria athena helios hera luna orion orpheus perseus stella zeus"
    ),
}


def aura_voices() -> list[VoiceInfo]:
    """Each voice is a model of the service; its id is the model's name."""
    return [
        VoiceInfo(
            id=f"{family}-{name}-{language}",
            name=name.capitalize(),
            language=language,
            attributes={"family": family},
        )
        for (family, language), names in _FAMILIES.items()
        for name in names.split()
    ]
