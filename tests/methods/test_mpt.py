"""Multitask prompt tuning against its equation, beyond what every method must hold."""

import pytest
import torch

from cpeft.errors import ConfigError
from cpeft.methods import METHODS, MethodInputs, PromptContext
from cpeft.options.training import OptimOptions
from cpeft.study.recipe.settings import parse_settings
from cpeft.training.optim import make_optimizer

MPT = METHODS.get("mpt")
P, D, T = 3, 5, 2


def make(rank=1, task_lr=None, seed=0):
    initial_PD = torch.randn(P, D, generator=torch.Generator().manual_seed(1))
    return MPT(MPT.Options(rank=rank, task_lr=task_lr), MethodInputs(("a", "b"), initial_PD, seed=seed)), initial_PD


def prompts(method, tasks):
    context = PromptContext(torch.zeros(len(tasks), 2, D), torch.ones(len(tasks), 2).bool(), torch.tensor(tasks))
    return method(context).prompt_BPD


@pytest.mark.parametrize("rank", [1, 3])
def test_every_task_starts_from_the_initial_prompt(rank):
    method, initial_PD = make(rank)
    assert torch.equal(prompts(method, [1, 0]), initial_PD.expand(2, P, D))


@pytest.mark.parametrize("rank", [1, 3])
def test_prompts_follow_the_equation(rank):
    """P_k[p, d] = P*[p, d] sum_r u_k[p, r] v_k[d, r], number by number."""
    method, _ = make(rank)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
    got = prompts(method, [1, 0, 1]).detach()
    shared, u, v = (parameter.tolist() for parameter in (method.shared_PD, method.u_TPR, method.v_TDR))
    for row, k in zip(got.tolist(), [1, 0, 1], strict=True):
        for p in range(P):
            for d in range(D):
                low = sum(u[k][p][r] * v[k][d][r] for r in range(rank))
                assert row[p][d] == pytest.approx(shared[p][d] * low, rel=1e-5, abs=1e-6)
    exported = method.export()
    assert list(exported) == ["a", "b"]
    assert torch.equal(exported["b"].weight, got[0])
    assert torch.equal(exported["a"].origin, method.origin)


def test_one_pair_per_task_and_one_prompt_for_all():
    method, _ = make()
    assert sum(p.numel() for p in method.parameters()) == P * D + T * (P + D)
    prompts(method, [0]).sum().backward()
    assert bool((method.u_TPR.grad[0] != 0).all())
    assert not bool(method.u_TPR.grad[1].any()), "a row of one task moves the pair of another"


def test_rates_of_the_pairs():
    def rates(lr, task_lr):
        method, _ = make(task_lr=task_lr)
        optimizer = make_optimizer(OptimOptions(lr=lr), method.param_groups(), scale=0.02)
        return {group["name"]: group["lr"] for group in optimizer.param_groups}

    assert rates(None, None) == {"prompt": 0.45 * 0.02, "task": 0.3}
    assert rates(0.1, None) == {"prompt": 0.1, "task": 0.1}
    assert rates(0.1, 0.2) == {"prompt": 0.1, "task": 0.2}


def test_a_rank_below_one_is_refused():
    with pytest.raises(ConfigError, match="rank"):
        parse_settings({"tasks": ["rte"], "model": {"name": "x"}, "method": {"name": "mpt", "rank": 0}})
