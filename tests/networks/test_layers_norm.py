from __future__ import annotations

import pytest
import torch

from darkside_cli.networks.layers import NORMS, bias_before_norm, make_norm


def test_instance_norm_has_no_state_and_normalises_every_image_by_itself() -> None:
    norm = make_norm("instance", 1).eval()
    assert not norm.state_dict()
    x = torch.tensor([1.0, 3.0]).expand(1, 1, 2, 2)
    both = norm(torch.cat([x, 10 * x]))
    torch.testing.assert_close(both, torch.tensor([-1.0, 1.0]).expand(2, 1, 2, 2), atol=1e-4, rtol=0)


def test_batch_norm_keeps_running_statistics() -> None:
    norm = make_norm("batch", 1)
    assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    norm(torch.tensor([1.0, 3.0]).view(1, 1, 1, 2))
    # momentum 0.1 from (0, 1) towards mean 2 and the unbiased variance 2
    assert norm.running_mean.item() == pytest.approx(0.2)
    assert norm.running_var.item() == pytest.approx(1.1)


def test_kinds() -> None:
    assert [bias_before_norm(kind) for kind in NORMS] == [True, False]
    with pytest.raises(ValueError, match="instance, batch"):
        make_norm("layer", 3)
