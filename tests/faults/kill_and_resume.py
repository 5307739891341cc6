"""Kills a run at random moments, resumes it, and compares what comes out with an undisturbed run.

python tests/faults/kill_and_resume.py --kernel 5.10 --kernel 6.1 --kernel latest --times 20
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from fault_world import World

# More kills than this in one run, and the run is let be.
_KILLS_MAX = 3


def undisturbed(world: World, arguments: Sequence[object]) -> dict[tuple[str, str, str], str]:
    """Run once, to know what has to come out and how long it takes."""
    ended = world.matrix("run", *arguments, "--out", "undisturbed")
    if ended.code != 0:
        raise SystemExit(f"the undisturbed run failed: {ended}")
    return world.verdicts("undisturbed")


def _rows(journal: Path) -> int:
    return journal.read_bytes().count(b'"event":"result"') if journal.exists() else 0


def disturbed(
    world: World, arguments: Sequence[object], out: str, chance: random.Random, cell_count: int
) -> tuple[dict[tuple[str, str, str], str], list[str]]:
    """Run, kill, resume, kill again perhaps, and let it end.

    Args:
        world: where.
        arguments: of `uring-matrix run`.
        out: the name of the results' directory.
        chance: says when.
        cell_count: how many verdicts an undisturbed run gives.

    Returns:
        The verdicts at the end, and a line per kill.
    """
    story: list[str] = []
    journal = world.place / out / "results.jsonl"
    for _ in range(chance.randint(1, _KILLS_MAX)):
        resume = ["--resume"] if journal.exists() and journal.stat().st_size else []
        run = world.start_matrix("run", *arguments, *resume, "--out", out)
        # Counted in verdicts, because seconds are worth something else on a busy machine; then a little by the clock.
        enough = _rows(journal) + chance.randint(0, cell_count // 2)
        while _rows(journal) < enough and run.process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 1))
        if run.process.poll() is not None:
            break
        run.signal(signal.SIGKILL)
        run.end()
        rows = _rows(journal)
        left = [line for line in world.leftovers() if line[0].isdigit()]
        story.append(f"killed with {rows} verdicts" + (f", left {left}" if left else ""))
        if left:
            raise AssertionError(story)
    resume = ["--resume"] if journal.exists() and journal.stat().st_size else []
    ended = world.matrix("run", *arguments, *resume, "--out", out)
    if ended.code != 0 or not world.results(out)["complete"]:
        raise AssertionError(f"{story}: {ended}")
    return world.verdicts(out), story


def main() -> None:
    """Do it as often as asked, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", action="append", required=True)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    chance = random.Random(options.seed)
    arguments = [word for spec in options.kernel for word in ("--kernel", spec)]
    failures = 0
    with tempfile.TemporaryDirectory(prefix="kill-and-resume-") as name:
        folders = [Path(name) / part for part in ("here", "tmp", "home")]
        for folder in folders:
            folder.mkdir()
        world = World(*folders)
        started_s = time.monotonic()
        expected = undisturbed(world, arguments)
        seconds = time.monotonic() - started_s
        print(f"undisturbed: {len(expected)} verdicts in {seconds:.1f} s", flush=True)
        for number in range(options.times):
            verdicts, story = disturbed(world, arguments, f"run-{number}", chance, len(expected))
            differing = {key: (expected.get(key), got) for key, got in verdicts.items() if expected.get(key) != got}
            is_same = not differing and verdicts.keys() == expected.keys()
            failures += not is_same
            print(f"{number + 1}: {'same' if is_same else f'DIFFERS {differing}'}; {'; '.join(story)}", flush=True)
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
