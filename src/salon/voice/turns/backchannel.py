"""Words that mean "go on, I am listening" and are no wish to speak."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

BACKCHANNELS = frozenset(
    {
        *("ah", "aha", "hm", "hmm", "huh", "mhm", "mm", "mmhm", "mmm", "oh", "uh", "um", "wow"),
        *("ok", "okay", "right", "sure", "yeah", "yep", "yes", "yup", "exactly", "indeed"),
        *("cool", "fine", "good", "great", "nice", "true"),
        *("all right", "got it", "go on", "i see", "of course", "makes sense", "mm hmm", "uh huh"),
    }
)
"""What a turn machine knows unless told otherwise: English, and nothing that could be an answer."""

ENGLISH_BACKCHANNELS = BACKCHANNELS | frozenset(
    {
        *("ha", "haha", "heh", "hum", "ooh", "ow", "ouch", "phew", "gosh", "yay", "ugh", "uhhuh"),
        *("alright", "yea", "absolutely", "agreed", "certainly", "definitely", "totally"),
        *("amazing", "awesome", "brilliant", "excellent", "fantastic", "funny", "incredible"),
        *("interesting", "lovely", "neat", "noted", "perfect", "sweet", "understood", "wonderful"),
        *("gotcha", "cheers", "thanks", "fair enough", "fair point", "go ahead", "good point"),
        *("got you", "carry on", "keep going", "sounds good", "sounds great", "sure thing"),
        *("i agree", "i know", "i understand", "love it", "that makes sense", "that's right"),
        *("that's true", "that's great", "that's good", "that's nice", "that's funny"),
        *("that's interesting", "that's cool", "you're right", "thank you", "thanks a lot"),
        *("thank you very much", "very good", "very nice", "my god", "um hum", "oh my", "oh dear"),
        *("oh boy", "oh man", "my goodness"),
    }
)

FRENCH_BACKCHANNELS = frozenset(
    {
        *("ah", "aha", "bah", "ben", "euh", "ha", "haha", "hein", "hm", "hmm", "hum", "mhm", "mm"),
        *("oh", "ouf", "ouh", "aïe", "oulà", "waouh", "wow", "zut", "mince"),
        *("ok", "okay", "oui", "ouais", "ouaip", "si", "voilà", "bien", "bon", "d'accord"),
        *("absolument", "certainement", "clairement", "compris", "effectivement", "entendu"),
        *("évidemment", "exact", "exactement", "noté", "justement", "tellement", "carrément"),
        *("bravo", "chouette", "cool", "drôle", "excellent", "génial", "incroyable", "merci"),
        *("intéressant", "magnifique", "parfait", "super", "sympa", "top", "nickel"),
        *("ah bon", "ah oui", "bien sûr", "ça marche", "ça va", "c'est bien", "c'est bon"),
        *("c'est ça", "c'est clair", "c'est vrai", "c'est intéressant", "c'est super", "en effet"),
        *("je comprends", "je sais", "je vois", "merci beaucoup", "pas mal", "pas de problème"),
        *("pas de souci", "tant mieux", "tout à fait", "très bien", "très intéressant"),
        *("tu as raison", "vous avez raison", "vas y", "allez y", "mon dieu", "oh là là"),
    }
)

GERMAN_BACKCHANNELS = frozenset(
    {
        *("ach", "ah", "aha", "äh", "ähm", "ha", "haha", "hm", "hmm", "mhm", "mm", "oh", "oha"),
        *("puh", "wow", "tja", "na", "so", "ok", "okay", "ja", "jap", "jawohl", "jep", "joa", "jo"),
        *("absolut", "doch", "eben", "einverstanden", "genau", "gut", "klar", "korrekt", "logisch"),
        *("natürlich", "richtig", "selbstverständlich", "sicher", "stimmt", "verstanden"),
        *("danke", "interessant", "krass", "perfekt", "prima", "schön", "spannend", "super"),
        *("toll", "klasse", "lustig", "wunderbar", "ach so", "ach ja", "alles klar", "auf jeden"),
        *("das stimmt", "das ist gut", "das ist richtig", "ich verstehe", "ich weiß", "ja klar"),
        *("in ordnung", "mach weiter", "machen sie weiter", "na gut", "na klar", "passt"),
        *("sehr gut", "sehr schön", "sehr interessant", "vielen dank", "weiter", "ganz genau"),
    }
)

SPANISH_BACKCHANNELS = frozenset(
    {
        *("ah", "ajá", "eh", "em", "ja", "jaja", "hm", "hmm", "mhm", "mm", "oh", "uf", "uy", "wow"),
        *("ok", "okay", "sí", "si", "vale", "ya", "bien", "bueno", "claro", "dale", "listo"),
        *("absolutamente", "cierto", "correcto", "desde luego", "efectivamente", "entendido"),
        *("exactamente", "exacto", "perfecto", "seguro", "totalmente", "verdad", "anda"),
        *("estupendo", "excelente", "fantástico", "genial", "gracias", "increíble"),
        *("interesante", "qué bien", "qué bueno", "claro que sí", "de acuerdo", "está bien"),
        *(
            "entiendo",
            "comprendo",
            "ya veo",
            "lo sé",
            "muy bien",
            "muy interesante",
            "por supuesto",
        ),
        *("muchas gracias", "tienes razón", "tiene razón", "así es", "eso es", "sigue", "siga"),
    }
)

BACKCHANNELS_BY_LANGUAGE = {
    "de": GERMAN_BACKCHANNELS,
    "en": ENGLISH_BACKCHANNELS,
    "es": SPANISH_BACKCHANNELS,
    "fr": FRENCH_BACKCHANNELS,
}
"""By the language part of a BCP-47 tag."""

REFUSALS = frozenset(
    {"no", "nope", "non", "nein", "stop", "wait", "halt", "warte", "stopp", "para"}
)
"""Said whole, however much like the beginning of a backchannel ("no", "noted") they look."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """The words of `text` in the form in which they are compared: no case, no punctuation."""
    return [word.replace("’", "'") for word in _WORD.findall(text.casefold())]


class Lexicon:
    """Phrases, ready to be compared with words. Phrases without a word are left out."""

    def __init__(self, phrases: Iterable[str]) -> None:
        split = (tuple(words_of(phrase)) for phrase in phrases)
        self._phrases = frozenset(words for words in split if words)
        self._longest = max(map(len, self._phrases), default=0)

    def consists(self, words: Sequence[str]) -> bool:
        """Whether `words` is one or more of the phrases in a row."""
        return bool(words) and len(words) in self._reached(words)

    def may_become(self, words: Sequence[str]) -> bool:
        """Whether more words could make it so; the last one may be cut short itself."""
        if not words or words[-1] in REFUSALS:
            return False
        reached = self._reached(words)
        for at in sorted(reached - {len(words)}):
            rest = tuple(words[at:])
            if len(rest) <= self._longest and any(
                phrase[: len(rest) - 1] == rest[:-1] and phrase[len(rest) - 1].startswith(rest[-1])
                for phrase in self._phrases
                if len(phrase) >= len(rest)
            ):
                return True
        return False

    def _reached(self, words: Sequence[str]) -> set[int]:
        """The positions up to which `words` is phrases."""
        reached = {0}
        for end in range(1, len(words) + 1):
            for start in range(max(0, end - self._longest), end):
                if start in reached and tuple(words[start:end]) in self._phrases:
                    reached.add(end)
                    break
        return reached


@lru_cache(maxsize=8)
def _lexicon(phrases: frozenset[str]) -> Lexicon:
    return Lexicon(phrases)


def is_backchannel(text: str, known: frozenset[str] = BACKCHANNELS) -> bool:
    """Whether `text` consists of nothing but words and phrases of `known`.

    Case and punctuation do not matter. Text without a word is no backchannel: it says nothing.
    """
    return _lexicon(known).consists(words_of(text))


def may_become_backchannel(text: str, known: frozenset[str] = BACKCHANNELS) -> bool:
    """Whether more words could make `text` one; its last word may be cut short itself."""
    return _lexicon(known).may_become(words_of(text))
