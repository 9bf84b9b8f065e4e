"""What a study of guided captioners found, as sentences with numbers: who does as in paper A, and who does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from alignscope.records import Effect
from alignscope.reporting.entries import gap, plain
from alignscope.reporting.guided_figures import noun_points
from alignscope.reporting.guided_numbers import (
    ABOVE_CAPTIONS,
    PEOPLE,
    START,
    Study,
    gap_of,
    side_of,
    template_of,
)
from alignscope.reporting.guided_tables import METRICS, templates_in
from alignscope.reporting.wording import enumerated, is_number

SATURATED = 95.0
"""A mean matching probability times 100 of which a reward has hardly anything left to gain."""
STATISTICS = {
    "perplexity": "Perplexity",
    "caption length": "Length",
    "nouns per caption": "Nouns",
    "unique nouns per caption": "Unique nouns",
    "captions with a repeated noun": "Captions that repeat a noun (points)",
}
HIGHER, LOWER, SAME = "higher", "lower", "not told apart"
Key = tuple[str, str, str]  # captioner, measure, group
Named = tuple[str, Effect | None]


@dataclass(frozen=True)
class Finding:
    """A sentence or two about one question."""

    about: str
    says: str


def headline(study: Study) -> str:
    """How many scorers' captioners please them, and what that does to fluency and to agreement with people."""
    own = [study.effect(by, "score", by) for by in study.paid]
    fluent = [study.effect(by, "perplexity") for by in study.paid]
    human = [study.effect(by, "CIDEr") for by in study.paid]
    if not any(side_of(one) for one in own):
        return (
            f"With the model that pays it, no captioner of {len(own)} is told apart from the one it began as"
        )
    parts = [f"{_count(own, 1)} please it more than before"]
    parts += [f"in {_count(own, -1)} it is pleased less"] if any(side_of(one) < 0 for one in own) else []
    parts += [f"perplexity rises in {_count(fluent, 1)}"] if any(fluent) else []
    parts += [f"CIDEr falls in {_count(human, -1)}"] if any(human) else []
    return f"Of captioners paid by a model’s score, {enumerated(parts)}"


def _count(effects: Sequence[Effect | None], sign: int) -> str:
    return f"{sum(side_of(one) == sign for one in effects)} of {len(effects)}"


def findings(study: Study) -> tuple[Finding, ...]:
    """All that the records answer, in the order of the paper; a question nobody measured is left out."""
    return tuple(finding for finding in _all(study) if finding.says)


def _all(study: Study) -> Iterator[Finding]:
    yield _against_start(study, "Score of who pays", "score", ("table-2", "scores"))
    yield Finding("Scores of the others", _others(study))
    for measure, about in STATISTICS.items():
        yield _against_start(study, about, measure, ("table-4", "statistics"))
    yield _against_start(study, "CIDEr", "CIDEr", ("table-2", "metrics"))
    yield Finding("Other metrics against references", _metrics(study))
    yield Finding("Log-odds in place of probabilities", _log_odds(study))
    for name in _own_rewards(study):
        yield Finding(f"Control paid by {study.says[name]}", _control(study, name))
    yield Finding("Guided against people", _people(study))
    yield Finding("Forced choice", _choice(study))
    yield Finding("Wrong nouns against random other words", _replaced(study))
    named = [
        (says, study.effect(START, ABOVE_CAPTIONS, f"{by} | {template_of(study, by, templates_in(study))}"))
        for by, says in study.scorers.items()
    ]
    said = directions(named, "than CE captions")
    yield Finding("CE captions’ nouns in the template of who scores", f"{said} In the paper all are higher." if said else "")  # fmt: skip
    yield Finding("More nouns", _nouns(study))


def _against_start(study: Study, about: str, measure: str, path: tuple[str, str]) -> Finding:
    """One number of every captioner guided in the paper's way against CE's, and where the paper says otherwise."""
    is_score = measure == "score"
    found = {by: study.effect(by, measure, by if is_score else "all") for by in study.paid}
    says = directions([(study.scorers[by], effect) for by, effect in found.items()], "than CE")
    if not says:
        reasons = sorted({reason for (_, of), reason in study.reasons.items() if of == measure})
        return Finding(about, f"unscored: {'; '.join(reasons)}." if reasons else "")
    printed = {
        by: _printed_side(study, (*path, by), (*path, START), by if is_score else measure) for by in found
    }
    known = {by: sign for by, sign in printed.items() if sign is not None}
    if not known:
        return Finding(about, says)
    return Finding(about, f"{says} {_beside_paper(study, found, known)}")


def _beside_paper(study: Study, found: Mapping[str, Effect | None], printed: Mapping[str, int]) -> str:
    """Where the paper has the contrary, and where it has a difference that these seeds do not show."""
    contrary: dict[str, list[str]] = {}
    untold: dict[str, list[str]] = {}
    for by, sign in printed.items():
        here = side_of(found[by])
        if here != sign and found[by] is not None:
            (untold if here == 0 else contrary).setdefault(_word(sign), []).append(study.scorers[by])
    if not contrary and not untold:
        return "As in the paper."
    parts = [
        f"{start} {enumerated([f'{enumerated(names)} {word}' for word, names in groups.items()])}{end}."
        for start, groups, end in (
            ("Otherwise than the paper, which has", contrary, ""),
            ("The paper has", untold, ", which these seeds do not tell"),
        )
        if groups
    ]
    return " ".join(parts)


def _printed_side(study: Study, own: tuple[str, ...], start: tuple[str, ...], column: str) -> int | None:
    """Whether the paper prints more or less than for CE, None where it prints nothing."""
    texts = [study.printed(*row, column).rstrip("↑") for row in (own, start)]
    if not all(texts):
        return None
    value, before = map(float, texts)
    return (value > before) - (value < before)


def _word(sign: int) -> str:
    return {1: HIGHER, -1: LOWER}.get(sign, "the same")


def directions(named: Sequence[Named], than: str) -> str:
    """Who is higher, who lower, who not told apart, who unscored; "" where nobody has a number.

    An effect without an interval, of one seed, is not told apart from anything.
    """
    groups: dict[str, list[str]] = {HIGHER: [], LOWER: [], SAME: []}
    lost = [name for name, effect in named if effect is not None and not is_number(effect.value)]
    for name, effect in named:
        if effect is not None and is_number(effect.value):
            groups[{1: HIGHER, -1: LOWER}.get(side_of(effect), SAME)].append(f"{name} ({_in_seeds(effect)})")
    parts = [
        f"{word} {than if word != SAME else than.replace('than', 'from')} for {enumerated(names)}"
        for word, names in groups.items()
        if names
    ]
    if not parts:
        return ""
    if any(effect is not None and effect.seeds == 1 for _, effect in named):
        parts.append("one seed has no interval")
    parts += [f"unscored for {enumerated(lost)}"] if lost else []
    return f"{'; '.join(parts)}."


def _in_seeds(effect: Effect) -> str:
    """A difference, and in how many seeds it is above zero where it is one against the start."""
    if effect.measure == ABOVE_CAPTIONS:
        return gap_of(effect)
    return f"{gap_of(effect)}, above in {effect.above} of {effect.seeds} seeds"


def _metrics(study: Study) -> str:
    """Who is higher and lower by the other metrics, without numbers, and which could not run."""
    parts = []
    for metric in METRICS:
        found = {says: study.effect(by, metric) for by, says in study.paid.items()}
        if metric == "CIDEr" or not any(found.values()):
            continue
        if not any(one is not None and is_number(one.value) for one in found.values()):
            parts.append(f"{metric} unscored in all seeds (the reason stands below Table 2)")
            continue
        sides = {
            word: [says for says, one in found.items() if one is not None and side_of(one) == sign]
            for word, sign in ((LOWER, -1), (HIGHER, 1), (SAME, 0))
        }
        told = [f"{word} for {enumerated(names)}" for word, names in sides.items() if names]
        parts.append(f"{metric} {', '.join(told)}")
    return f"{'; '.join(parts)}. The paper has all of them lower for all five." if parts else ""


def _others(study: Study) -> str:
    """Whether pleasing one scorer pleases the others."""
    found = [study.effect(name, "score", by) for name in study.paid for by in study.scorers if by != name]
    sides = [side_of(one) for one in found if one is not None and is_number(one.value)]
    if not sides:
        return ""
    printed = study.paper["table-2"]["scores"]
    marks = [cell.endswith("↑") for row, cells in printed.items() if row != START for by, cell in cells.items() if by != row]  # fmt: skip
    return (
        f"of {len(sides)} scores by a model that does not pay, {sides.count(1)} {'is' if sides.count(1) == 1 else 'are'} higher than CE’s, "
        f"{sides.count(-1)} lower, {sides.count(0)} not told apart (the paper: {sum(marks)} of {len(marks)} higher)."
    )


def paired(study: Study, one: Key, other: Key) -> list[float]:
    """Differences of two numbers in the seeds that have both."""
    first, second = study.trials.get(one, {}), study.trials.get(other, {})
    return [first[seed] - second[seed] for seed in first if seed in second]


def _seeds_higher(gaps: Sequence[float]) -> str:
    """A mean difference and how often it is above zero."""
    return f"{gap(fmean(gaps), None, None)}, above in {sum(one > 0 for one in gaps)} of {len(gaps)} seeds"


def _log_odds(study: Study) -> str:
    """What a reward that does not saturate changes, seed by seed against the paper's reward."""
    parts: list[str] = []
    before: dict[str, float] = {}
    for name, by in study.paid_by.items():
        if by not in study.paid or name == by or name not in study.says:
            continue
        gaps = paired(study, (name, "score", by), (by, "score", by))
        if gaps:
            parts.append(f"{study.scorers[by]} ({_seeds_higher(gaps)})")
        start = study.effect(START, "score", by)
        if start is not None and is_number(start.value):
            before[study.scorers[by]] = start.value  # type: ignore[assignment]
    if not parts:
        return ""
    full = [says for says, value in before.items() if value >= SATURATED]
    had = enumerated([f"{plain(value)} of 100 with {says}" for says, value in before.items()])
    left = (
        f"{enumerated(full)} left a probability hardly anything to pay for"
        if full
        else "none left a probability without room to gain"
    )
    return (
        f"score of who pays, paid in log-odds minus paid in probabilities: {enumerated(parts)}. "
        f"Before guidance CE captions had {had}: {left} ({plain(SATURATED)} or more)."
    )


def _own_rewards(study: Study) -> list[str]:
    return [name for name in study.says if name in study.paid_by and study.paid_by[name] == ""]


def _control(study: Study, name: str) -> str:
    """What a captioner does that no scorer pays."""
    parts = [
        f"{called} {gap_of(effect)}{_mark(effect)}"
        for called, measure in (("CIDEr", "CIDEr"), ("perplexity", "perplexity"), ("words", "caption length"))
        if (effect := study.effect(name, measure)) is not None and is_number(effect.value)
    ]
    scores = directions(
        [(says, study.effect(name, "score", by)) for by, says in study.scorers.items()], "than CE"
    )
    said = [f"against CE {enumerated(parts)}." if parts else "", f"Scores: {scores}" if scores else ""]
    return " ".join(filter(None, said))


def _mark(effect: Effect) -> str:
    return "" if side_of(effect) else " (not told apart)"


def _people(study: Study) -> str:
    """Whether a scorer prefers what it paid for to what people said, seed by seed."""
    parts = []
    for by, says in study.paid.items():
        gaps = paired(study, (by, "score", by), (PEOPLE, "score", by))
        parts += [f"{says} ({_seeds_higher(gaps)})"] if gaps else []
    return f"score of the captioner it pays minus that of people’s first caption: {enumerated(parts)}." if parts else ""  # fmt: skip


def _choice(study: Study) -> str:
    """Whose caption each scorer takes most often, and whether CE's is taken less often than by chance."""
    parts = []
    for by, says in study.scorers.items():
        shares = {
            name: e
            for name in study.says
            if (e := study.effect(name, "chosen", by)) is not None and is_number(e.value)
        }
        if START not in shares:
            continue
        best = max(shares, key=lambda name: shares[name].value or 0.0)
        chance, start = 1 / len(shares), shares[START]
        side = _beside(start, chance)
        taken = f"{100 * (start.value or 0):.1f} % ({side} {100 * chance:.1f} %)"
        if best == START:
            parts.append(f"{says} takes CE’s most often, {taken}")
            continue
        whose = "its own captioner’s" if best == by else f"that of the captioner {study.says[best]}"
        parts.append(
            f"{says} takes {whose} most often ({100 * (shares[best].value or 0):.1f} %) and CE’s in {taken}"
        )
    return f"{'; '.join(parts)}. In the paper every model takes its own, people CE’s." if parts else ""


def _beside(effect: Effect, chance: float) -> str:
    if effect.low is None or effect.high is None or effect.low <= chance <= effect.high:
        return "not told apart from chance,"
    return "above chance," if effect.low > chance else "below chance,"


def _replaced(study: Study) -> str:
    """Which half of a caption's words a scorer misses more, seed by seed."""
    parts = []
    for by, says in study.scorers.items():
        wrong = study.effect(START, ABOVE_CAPTIONS, f"{by} | wrong nouns")
        other = study.effect(START, ABOVE_CAPTIONS, f"{by} | random other words")
        gaps = paired(
            study,
            (START, ABOVE_CAPTIONS, f"{by} | wrong nouns"),
            (START, ABOVE_CAPTIONS, f"{by} | random other words"),
        )
        if (
            wrong is None
            or other is None
            or not gaps
            or not (is_number(wrong.value) and is_number(other.value))
        ):
            continue
        lower = sum(one < 0 for one in gaps)
        parts.append(
            f"{says} {gap_of(wrong)} against {gap_of(other)} (wrong nouns worse in {lower} of {len(gaps)} seeds)"
        )
    return f"change of the score: {'; '.join(parts)}. In the paper wrong nouns are worse with every model." if parts else ""  # fmt: skip


def _nouns(study: Study) -> str:
    """Whether scores rise with the number of nouns, on one set of images; intervals are over images."""
    parts = []
    for by, says in study.scorers.items():
        points = noun_points(study, by)
        if len(points) < 2:
            continue
        first, last = points[0], points[-1]
        steps = [(b.y > a.y) - (b.y < a.y) for a, b in pairwise(points)]
        way = (
            "rises"
            if set(steps) == {1}
            else "falls"
            if set(steps) == {-1}
            else "neither rises nor falls throughout"
        )
        ends = (first.low, first.high, last.low, last.high)
        apart = None not in ends and (last.low > first.high or last.high < first.low)  # type: ignore[operator]
        parts.append(
            f"{says} {way} ({plain(first.y)} with {first.x:g} nouns, {plain(last.y)} with {last.x:g}"
            f"{'' if apart else ', intervals overlap'})"
        )
    return f"{'; '.join(parts)}. In the paper all rise, UNITER hardly." if parts else ""
