"""Words after which nobody stops, by language. Everything is compared in lower case."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    """One language. `open_words` end no sentence: conjunctions, articles, possessives,
    prepositions, auxiliaries with their subject. `fillers` are said while thinking. `questions`
    begin one. `digits` are the spoken digits of a dictated number."""

    open_words: frozenset[str]
    fillers: frozenset[str]
    questions: frozenset[str]
    closings: frozenset[str]
    """Answers that are complete although they are short."""
    digits: frozenset[str]


def _set(*groups: str) -> frozenset[str]:
    return frozenset(word.replace("_", " ") for group in groups for word in group.split())


ENGLISH = Wording(
    open_words=_set(
        "and or but because if when while although though unless until since whether that than",
        "a an the my your his her its our their some any every each another",
        "of to for with from at by into onto about between without through during",
        "is are was were am be been i i'm i'd i'll i've we we're we'd we'll they they're he's",
        "she's it's there's can could would should will might must shall maybe perhaps very really",
        "so_that in_order i_mean i_think i_want i_need i_would_like i'd_like let_me can_you",
        "could_you would_you do_you what_about how_about such_as going_to want_to need_to have_to",
    ),
    fillers=_set("um uh erm er ah hmm hm mm well so you_know let_me_see let_me_think"),
    questions=_set(
        "what where when who whom whose why which how can could would should will do does did is",
        "are was were have has may am",
    ),
    closings=_set(
        "yes no yeah yep nope ok okay sure thanks thank_you bye goodbye hello hi stop please right",
        "exactly correct never_mind that's_all that's_it i_do i_am i_will i_can of_course",
        "that's_me it_is they_are we_are he_is she_is i_have think_so hope_so",
        "guess_so as_well thank_you_very_much",
    ),
    digits=_set("zero oh one two three four five six seven eight nine double triple"),
)

GERMAN = Wording(
    open_words=_set(
        "und oder aber weil wenn als während obwohl falls bis dass ob denn sondern damit sowie",
        "ein eine einen einem einer der die das den dem des mein meine meinen meinem meiner dein",
        "deine sein seine ihr ihre unser unsere kein keine von zu für mit aus bei nach in im am um",
        "über unter zwischen ohne durch gegen zum zur vom ich wir ist sind war bin habe haben kann",
        "könnte würde möchte muss soll will vielleicht sehr also_ich können_sie kannst_du",
        "ich_möchte ich_hätte ich_würde ich_meine und_zwar",
    ),
    fillers=_set("äh ähm hm hmm tja also na naja sozusagen moment mal_sehen"),
    questions=_set(
        "was wo wann wer wem wen wessen warum wieso weshalb welche welcher welches wie kann können",
        "könnte könnten haben hat ist sind darf gibt wird",
    ),
    closings=_set(
        "ja nein doch ok okay klar danke tschüss hallo stopp halt bitte genau richtig stimmt",
        "das_war's das_ist_alles vielen_dank schon_gut das_bin_ich",
    ),
    digits=_set("null eins zwei zwo drei vier fünf sechs sieben acht neun"),
)

FRENCH = Wording(
    open_words=_set(
        "et ou mais parce_que car si quand lorsque pendant bien_que que qui dont où donc or ni",
        "un une le la les des du de mon ma mes ton ta tes son sa ses notre nos votre vos leur",
        "leurs à au aux avec pour par sans sur sous dans en chez entre vers je j'ai nous est sont",
        "était suis peux pourrais voudrais dois très plutôt je_voudrais j'aimerais est-ce_que",
        "c'est pouvez-vous il_y_a s'il",
    ),
    fillers=_set("euh heu hum hm ben bah alors enfin voyons disons"),
    questions=_set(
        "quoi où quand qui pourquoi quel quelle quels quelles comment combien est-ce qu'est-ce",
        "pouvez-vous peux-tu avez-vous as-tu",
    ),
    closings=_set(
        "oui non ouais ok okay merci bonjour salut stop voilà exact exactement d'accord au_revoir",
        "c'est_tout c'est_bon c'est_moi c'est_ça s'il_vous_plaît",
    ),
    digits=_set("zéro un deux trois quatre cinq six sept huit neuf"),
)

SPANISH = Wording(
    open_words=_set(
        "y e o u pero porque si cuando mientras aunque hasta que quien cual donde pues sino como",
        "un una unos unas el la los las mi mis tu tus su sus nuestro nuestra de del a al con para",
        "por sin sobre en entre desde hacia yo es son era estoy está puedo podría quiero quisiera",
        "debo muy más me_gustaría quiero_que puede_usted es_que",
    ),
    fillers=_set("eh em este pues bueno mmm hm a_ver digamos o_sea"),
    questions=_set("qué dónde cuándo quién quiénes por_qué cuál cuáles cómo cuánto cuánta puede"),
    closings=_set(
        "sí si no ok okay vale gracias hola adiós para claro exacto eso_es eso_es_todo nada_más",
        "por_favor soy_yo ya_está",
    ),
    digits=_set("cero uno dos tres cuatro cinco seis siete ocho nueve"),
)

BY_LANGUAGE = {"de": GERMAN, "en": ENGLISH, "es": SPANISH, "fr": FRENCH}
