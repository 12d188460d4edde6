"""``python -m bench TARGET``: training, gpu, seeds (fifty of them), imaging, scale (cost of planning), null (no effect), effect (with one),
null-time (no effect, a time to an event learnt), coverage, inputs
(what a locked model notices), all."""

import sys

from bench import coverage, gpu, imaging, inputs, null, scale, seeds, training

TARGETS = {
    "imaging": imaging.main,
    "training": lambda: training.main(write=write),
    "gpu": gpu.main,
    "seeds": seeds.main,
    "null": null.main,
    "effect": lambda: null.main(8, 1.0),
    "null-time": null.over_time,
    "coverage": coverage.main,
    "inputs": inputs.main,
    "scale": scale.main,
}

if __name__ == "__main__":
    write = "--write" in sys.argv  # of training: its table into docs/design.md
    wanted = [word for word in sys.argv[1:] if word != "--write"] or ["all"]
    for name in TARGETS if wanted == ["all"] else wanted:
        if name not in TARGETS:
            sys.exit(f"no such target {name}; there are: {', '.join(TARGETS)}, all")
        TARGETS[name]()
