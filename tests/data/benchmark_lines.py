"""What a reader of a benchmark yields, parted."""

from collections.abc import Iterable

from alignscope.records import Problem, Question


def parted(found: Iterable[Question | Problem]) -> tuple[list[Question], list[Problem]]:
    """The questions, and what is wrong, each in its order."""
    lines = list(found)
    questions = [one for one in lines if isinstance(one, Question)]
    return questions, [one for one in lines if isinstance(one, Problem)]
