"""Factors of variation: what a perturbation may change, how the language model is asked for it, and who judges it.

Knows no models; a new factor is one more entry in `FACTORS`, with a judge from `judges.py` or its own: a function of a
`wording.ChangedPlace`. Of the factors that agree with an analyst's own words the last entry is the likeliest, so one
that lets much pass stands further up. Its examples in prompts are the lines of assets/perturbations.jsonl that bear
its name. The first five and the wording's intent follow LANCE (Prabhu et al., NeurIPS 2023) and Li et al. (2024);
weather is LANCE's sixth.
"""

from pipeline.captions.judges import (
    judge_adjective,
    judge_background,
    judge_object,
    judge_picture,
    judge_subject,
    judge_weather,
)
from pipeline.types import Factor

FACTORS: dict[str, Factor] = {
    factor.name: factor
    for factor in (
        Factor(
            name="subject",
            instruction="Replace only the main subject of the caption by another one; keep every other word.",
            help="Who or what acts in the picture: a dog becomes a cat.",
            judge=judge_subject,
        ),
        Factor(
            name="object",
            instruction="Replace only a secondary object of the caption by another one; keep every other word.",
            help="A thing beside the subject: a tree becomes a house.",
            judge=judge_object,
        ),
        Factor(
            name="background",
            instruction="Change only the place or background of the caption; keep everything in the foreground.",
            help="Where it happens: a snowy field becomes a sandy beach.",
            judge=judge_background,
            spans=True,
        ),
        Factor(
            name="adjective",
            instruction="Change or add a single adjective of the subject; keep every other word.",
            help="What the subject is like: a brown dog becomes a white dog.",
            judge=judge_adjective,
        ),
        Factor(
            name="domain",
            instruction="Change only the kind of picture, such as photo, sketch or painting; keep its content.",
            help="What kind of picture it is: a photo becomes a sketch.",
            judge=judge_picture,
        ),
        # Off unless asked for: `Settings.factors` names the five of Li et al. (2024).
        Factor(
            name="weather",
            instruction="Change or add only the weather of the caption; keep every other word.",
            help="What the sky is like: a clear day becomes a rainy one.",
            judge=judge_weather,
        ),
    )
}
