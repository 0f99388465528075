"""What oneDNN keeps of products whose shapes do not come back, seen as the memory of a process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cpeft.training.memory import CACHES, KERNELS
from tiny import child_environment

STATM = Path("/proc/self/statm")
MANY = f"""
import torch
from cpeft.models.fast.product import Product
from cpeft.training.memory import bound_kernels

if {{bounded}}:
    bound_kernels()
torch.set_num_threads(1)
product, x, held = Product([torch.nn.Linear(64, 64, bias=False)], arranged=True), torch.randn(1000, 64), []
for rows in range(1, {2 * KERNELS + 201}):
    product.forward(x[:rows])
    if rows in ({KERNELS + 100}, {2 * KERNELS + 200}):
        held.append(int(open("{STATM}").read().split()[1]))
print(held[1] - held[0])
"""


def pages_of_new_shapes(bounded):
    """What the second half of `MANY` adds to a process."""
    environment = {name: value for name, value in child_environment().items() if name not in CACHES}
    asked = [sys.executable, "-c", MANY.format(bounded=bounded)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, env=environment)
    return int(done.stdout)


@pytest.mark.skipif(not STATM.exists(), reason="reads /proc")
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is without oneDNN")
def test_new_shapes_take_no_memory_once_the_caches_are_full():
    """A full cache gives up as much as it takes, but for what the allocator's gaps are worth, which differ from process to
    process: what the caches kept would be there in all of them."""
    free, bounded = pages_of_new_shapes(False), min(pages_of_new_shapes(True) for _ in range(3))
    assert free > 2000, "products must take memory for this to mean anything"
    assert bounded < free / 4
