"""A soft prompt in a training loop of your own: python examples/own_loop.py [STEPS]

`cpeft.PromptedLM` is an `nn.Module` whose parameters are those of the method; the model stays frozen.
"""

import sys

import torch

import cpeft
from cpeft.methods import METHODS, MethodInputs

ROWS = [
    ("a gorgeous film", "good"),
    ("a dull film", "bad"),
    ("what a fine evening", "good"),
    ("what a sad evening", "bad"),
]

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 40
lm = cpeft.load_lm("mini")
method = METHODS.get("prompt_tuning")
start_PD = lm.vocabulary.table_VD[100:116]  # 16 rows of the vocabulary
model = cpeft.PromptedLM(lm, method(method.Options(), MethodInputs(tasks=("mine",), initial_PD=start_PD)))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)

batch = lm.tokenizer([text for text, _ in ROWS], return_tensors="pt", padding=True)
labels = lm.tokenizer(text_target=[answer for _, answer in ROWS], return_tensors="pt", padding=True)["input_ids"]
labels[labels == lm.tokenizer.pad_token_id] = -100
for step in range(steps):
    loss = model(**batch, labels=labels).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step in (0, steps - 1):
        print(f"step {step + 1}: loss {loss.item():.3f}")
answers = lm.tokenizer.batch_decode(model.generate(**batch, max_new_tokens=4), skip_special_tokens=True)
print(dict(zip([text for text, _ in ROWS], answers, strict=True)))
