"""Train a soft prompt from Python, score it, save it, and use it again: python examples/train.py [STEPS]"""

import sys

import cpeft

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 60
lm = cpeft.load_lm("mini")  # comes with the package; "smollm2" and any model of the hub work the same way
learner = cpeft.train(
    lm,
    "mini/sentiment",
    prompt={"length": 16},
    optim={"lr": 0.1},
    train={"steps": steps, "batch": 16},
    data={"limit_validation": 40, "limit_test": 100},
)
score = cpeft.evaluate(learner, "mini/sentiment")["accuracy"]
print(f"accuracy {score.value:.1f} [{score.low:.1f}, {score.high:.1f}]")

prompt = learner.export()["mini/sentiment"]
prompt.save("prompts/sentiment")
again = cpeft.SoftPrompt.load("prompts/sentiment")
print(f"{again.length} rows of width {again.width}, trained on {again.provenance.model}")
print(cpeft.predict(again, "mini/sentiment", [{"text": "The soup was cold and the waiter was rude."}]))
