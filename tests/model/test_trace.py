"""What lease rounds of the compiled core do in simulated histories follows from the model's rules.

That this can fail is part of the test: a core with a bug differs from the rules, and so does the sound
core from rules of which one is left out.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from model.trace import Replay, apply_mutant, build_checker, build_recorder, copy_tree, missing_tools, record, replay

pytestmark = [
    pytest.mark.skipif(bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}"),
    pytest.mark.timeout(600),
]

HISTORIES = 1000


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("trace") / "tree"
    copy_tree(base)
    build_recorder(base)
    return base


@pytest.fixture(scope="module")
def log(tree: Path) -> Path:
    path = tree.parent / "log"
    record(tree / "tests/model/record", path, 1, HISTORIES)
    return path


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_checker(tmp_path_factory.mktemp("checker"))


def test_core_follows_the_rules(log: Path, checker: Path) -> None:
    result = replay(checker, log)
    print(result)
    assert result.histories == HISTORIES
    assert result.differences == 0, result.details
    few = Replay(events=HISTORIES * 50, taken=HISTORIES * 5, raised=HISTORIES * 10)
    assert result.events > few.events
    assert result.taken > few.taken
    assert result.raised > few.raised
    assert result.late > HISTORIES / 20


@pytest.mark.parametrize(
    "mutant",
    [
        "lower-flag-overlooked",
        "void-claims-a-taking",
        "resume-overlooks-itself",
        "header-not-judged",
        "no-lifetime-test",
    ],
)
def test_core_with_a_bug_does_not(mutant: str, tree: Path, checker: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    apply_mutant(tmp_path / "tree", mutant)
    record(build_recorder(tmp_path / "tree"), tmp_path / "log", 1, HISTORIES)
    assert replay(checker, tmp_path / "log").differences > 0


@pytest.mark.parametrize(
    ("files", "tested"),
    [
        (("native/protocol/round.c", "native/protocol/round_take.c"), "if (dpx_world_over(round->world, now)) {"),
        (("tests/simulation/disk.c",), "if (life->finished || now >= life->lifetime_end) {"),
    ],
    ids=["rounds", "host-room"],
)
def test_core_without_lifetime_tests_does_not(
    files: tuple[str, ...], tested: str, tree: Path, checker: Path, tmp_path: Path
) -> None:
    """Rule L4. The two tests of a round cover for each other; the one before each write is the host room's."""
    shutil.copytree(tree, tmp_path / "tree")
    for file in files:
        source = tmp_path / "tree" / file
        text = source.read_text()
        assert text.count(tested) == 1
        source.write_text(text.replace(tested, "if (false) {"))
    record(build_recorder(tmp_path / "tree"), tmp_path / "log", 1, HISTORIES)
    assert replay(checker, tmp_path / "log").differences > 0


@pytest.mark.parametrize("rule", ["NO_L1", "NO_L3_HIDES", "NO_L4", "NO_L6", "NO_L7", "NO_HIGHER", "BLIND_TO_SHARED"])
def test_core_needs_each_rule(rule: str, log: Path, tmp_path: Path) -> None:
    assert replay(build_checker(tmp_path, rule), log).differences > 0
