"""What is wrong with a configuration, said so that it can be put right without looking anything up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """Where a value was written.

    file: a file's name, `environment` or `command line`. line, column: from 1; 0 = the whole source.
    """

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Problem(NamedTuple):
    """One thing that is wrong. path: `broker.port`, `--port`, `TQ_PORT`, or empty for the file as a whole."""

    file: str
    line: int
    column: int
    path: str
    text: str
    remedy: str

    def __str__(self) -> str:
        place = Place(self.file, self.line, self.column)
        subject = f"{self.path}: " if self.path else ""
        return f"{place}: {subject}{self.text}; {self.remedy}"


def problem_at(place: Place, path: str, text: str, remedy: str) -> Problem:
    return Problem(*place, path=path, text=text, remedy=remedy)


class ConfigProblems(Exception):
    """Everything that is wrong, in the order of the file. A program that gets it prints it and exits with 2."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column))
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{count} problem{'s' if count != 1 else ''} in the configuration"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])
