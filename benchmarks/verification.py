"""How fast are verdicts, beside Math-Verify on the same texts in the same run?

    POLARITY_TEST_DATA=... python benchmarks/verification.py            # about two minutes, most of it the peer's
    POLARITY_TEST_DATA=... python benchmarks/verification.py --rows 200

One core each:

    plain            whole numbers, fractions and decimals in a box after a few sentences (made here)
    hard             answers that only algebra can compare: polynomials, radicals, angles, unions (made here)
    recorded, plain  the recorded responses that reading settles, where the data are present
    recorded, hard   those that need algebra; the share of them is `needs_algebra`

One process does all the work of the peer; ours has one checking process, and the time of both
its processes together is what counts ("per core" divides by processor seconds, not by the clock).
Starting the checking process is left out on both sides (imports), and said in the JSON.
"""

import argparse
import json
import logging
import os
import random
import resource
import time
from pathlib import Path

from common import keep

os.environ.setdefault("OMP_NUM_THREADS", "1")


def easy_cases(count, seed=0):
    """Golds and distinct responses as a trained policy gives them: working, then a box; half of them right."""
    draw = random.Random(seed)
    golds, responses = [], []
    for index in range(count):
        a, b = draw.randint(2, 900), draw.randint(2, 99)
        gold, right = draw.choice(
            [
                (f"{a * b}", f"{a * b:,}"),
                (f"\\frac{{{a}}}{{{b}}}", f"{a}/{b}"),
                (f"{a / 100}", f"{a / 100}"),
                (f"-{a}", f"\u2212{a}"),
            ]
        )
        answer = right if index % 2 else str(a + b + 1)
        golds.append(gold)
        responses.append(
            f"Sample {index}. First we take {a} and then {b}. " * 6
            + f"Therefore the answer is \\(\\boxed{{{answer}}}\\)."
        )
    return golds, responses


def hard_cases(count, seed=0):
    """Golds and distinct responses whose comparison needs algebra; half of them right."""
    draw = random.Random(seed)
    golds, responses = [], []
    for index in range(count):
        a, b, c = draw.randint(2, 9), draw.randint(1, 9), draw.choice([2, 3, 5, 6, 7, 10])
        gold, right, wrong = draw.choice(
            [
                (f"(x+{a})(x-{b})", f"x^2 + ({a - b})x - {a * b}", f"x^2 + ({a - b})x + {a * b}"),
                (f"{a}\\sqrt{{{c}}}", f"\\sqrt{{{a * a * c}}}", f"\\sqrt{{{a * c + a * a * c}}}"),
                (f"\\frac{{{a}\\pi}}{{{b}}}", f"\\frac{{{a}}}{{{b}}}\\pi", f"\\frac{{{b}}}{{{a + b}}}\\pi"),
                (f"{a}\\sin^2 t + {a}", f"{2 * a} - {a}\\cos^2 t", f"{2 * a} - {b + a}\\cos^2 t"),
                (f"\\frac{{{a}}}{{x}} + {b}", f"\\frac{{{a} + {b}x}}{{x}}", f"\\frac{{{a} + {b}}}{{x}}"),
            ]
        )
        answer = right if index % 2 else wrong
        golds.append(gold)
        responses.append(f"Sample {index}. We work it out. " * 6 + f"Therefore it is \\(\\boxed{{{answer}}}\\).")
    return golds, responses


def needs_algebra(golds, responses):
    """Per response, whether reading alone leaves it open."""
    from polarity_lib.verification.mathematics import _first_verdict, answer_of_gold
    from polarity_lib.verification.verdicts import Verdict

    return [not isinstance(_first_verdict(answer_of_gold(g), r, None), Verdict) for g, r in zip(golds, responses)]


def ours(golds, responses):
    """Verdicts, wall seconds and processor seconds of both processes."""
    from polarity_lib.verification.mathematics import MathVerifier

    with MathVerifier(workers=1) as verifier:
        verifier.verify(["x+1"], ["\\boxed{1 + x}"])  # the checking process is warm
        wall, mine = time.perf_counter(), time.process_time()
        verdicts = verifier.verify(golds, responses)
        wall, mine = time.perf_counter() - wall, time.process_time() - mine
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return [v.label for v in verdicts], wall, mine, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def peer(golds, responses):
    """Math-Verify as its README shows it, a bare gold wrapped in a box so that it is read as mathematics."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    verify(parse("\\boxed{x+1}"), parse("\\boxed{1+x}"))
    correct, wall = [], time.perf_counter()
    for gold, response in zip(golds, responses):
        correct.append(bool(verify(parse(f"\\boxed{{{gold}}}"), parse(response))))
    return correct, time.perf_counter() - wall


def measure(name, golds, responses, labels=None):
    """One row: both sides on the same texts."""
    verdicts, wall, parent_s, child_s = ours(golds, responses)
    correct, peer_wall = peer(golds, responses)
    row = {
        "what": f"verdicts, {name}", "unit": "a second", "ours": round(len(golds) / wall, 1),
        "peer": round(len(golds) / peer_wall, 2), "peer_name": "Math-Verify", "ratio": round(peer_wall / wall, 2),
        "rows": len(golds), "needs_algebra": sum(needs_algebra(golds, responses)) / len(golds),
        "same_verdict": sum((label == "correct") == other for label, other in zip(verdicts, correct)) / len(golds),
        "seconds": {"wall": wall, "parent_cpu": parent_s, "checking_process_cpu_with_start": child_s, "peer_wall": peer_wall},
    }
    known = [(label, ours_, peer_) for label, ours_, peer_ in zip(labels or (), verdicts, correct) if label is not None]
    if known:
        row["labelled"] = len(known)
        row["agreement"] = {"ours": sum((o == "correct") == label for label, o, _p in known) / len(known),
                            "peer": sum(p == label for label, _o, p in known) / len(known)}
    print(f"{row['what']}: ours {row['ours']:g}, Math-Verify {row['peer']:g} a second, ratio {row['ratio']:g}", flush=True)
    return row


def recorded(limit):
    """The recorded responses in two parts by whether they need algebra, and the share that does."""
    data = os.environ.get("POLARITY_TEST_DATA")
    if not data or not (Path(data) / "responses.jsonl").is_file():
        print("recorded: skipped, POLARITY_TEST_DATA names no folder with responses.jsonl")
        return [], None
    lines = (Path(data) / "responses.jsonl").read_text(encoding="utf-8").strip("\n").split("\n")[:limit]
    rows = [json.loads(line) for line in lines]
    hard = needs_algebra([row["gold"] for row in rows], [row["response"] for row in rows])
    parts = {name: [row for row, is_hard in zip(rows, hard) if is_hard == wanted]
             for name, wanted in (("recorded, plain", False), ("recorded, hard", True))}
    measured = [measure(name, *([row[key] for row in part] for key in ("gold", "response", "label")))
                for name, part in parts.items() if part]  # a few rows may hold none that need algebra
    return measured, sum(hard) / len(hard)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=None, help="how many recorded responses (default: all)")
    arguments.add_argument("--easy", type=int, default=2000, help="how many plain answers")
    arguments.add_argument("--hard", type=int, default=200, help="how many answers that need algebra")
    asked = arguments.parse_args()
    load = os.getloadavg()[0]
    rows = [measure("plain", *easy_cases(asked.easy)), measure("hard", *hard_cases(asked.hard))]
    more, share = recorded(asked.rows)
    keep("verification", rows + more, ("math-verify", "sympy", "latex2sympy2-extended"), load_before=load,
         recorded_share_that_needs_algebra=share)


if __name__ == "__main__":
    main()
