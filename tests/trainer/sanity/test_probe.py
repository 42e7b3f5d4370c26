"""Part of every tensor is followed as it changes, in whatever memory format it lies."""

from __future__ import annotations

import torch

from t2i_trainer.sanity.probe import Probe, fingerprint, trained


def test_a_probe_follows_weights_of_any_memory_format() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3), torch.nn.Linear(3, 2)).to(memory_format=torch.channels_last)
    probe = Probe(trained(module, untrained=("1.bias",)), numbers=5)
    before = probe.look()
    assert probe.names == ("0.weight", "0.bias", "1.weight")
    assert [len(each) for each in probe.split(before)] == [5, 5, 5]
    with torch.no_grad():
        next(module.parameters())[0, 0, 0, 0] += 1
    assert fingerprint(before) == fingerprint(before.clone())
    assert fingerprint(before) != fingerprint(probe.look())
