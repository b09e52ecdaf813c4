"""What LENS would hardly touch, by hand."""

import math

import torch
from test_probes import CONFIG, rollouts_of

from polarity_lib.papers.lens import probes
from polarity_lib.papers.lens.probes import sparse
from polarity_lib.verification import Verdict


def test_sparse_by_hand(babbler, monkeypatch):
    """Two wrong answers of ten tokens, -1 and -2 nats a token: D is twice the larger confidence."""
    logs = torch.tensor([[-1.0] * 10, [-2.0] * 10])
    wrong = rollouts_of([[1] * 10] * 2, [0, 0], [0, 0], logs)
    monkeypatch.setattr(probes, "sample_test", lambda *args, **options: wrong)
    # Raw: odds 1 and e^-10 / (2 - e^-10), far below 0.01. Per token: 1 and e^-1 / (2 - e^-1) = 0.23.
    assert sparse(babbler, CONFIG) == {"sparse/raw": 0.5, "sparse/normalised": 0.0}
    right = wrong.but(verdicts=[Verdict("correct", None, "", "by hand")] * 2)
    monkeypatch.setattr(probes, "sample_test", lambda *args, **options: right)
    assert all(math.isnan(v) for v in sparse(babbler, CONFIG).values())
