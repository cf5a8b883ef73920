"""Write plugins/qaqfilter_doctor/expected.json: the self-test's numbers, from float64.

Run it when the embedded models change, and only then:  python tools/selftest_numbers.py
"""

from __future__ import annotations

import json
from pathlib import Path

from qaqfilter import LIKELIHOODS
from qaqfilter.manager import load_plugins
from qaqfilter.scoring import Scorer
from qaqfilter_doctor.records import selftest_window
from qaqfilter_doctor.selftest import Models

TARGET = Path(__file__).parent.parent / "plugins/qaqfilter_doctor/expected.json"
MODELS = ("builtin:strong", "builtin:weak")


def main() -> None:
    manager = load_plugins()
    component = manager.require("backend", "reference")
    plain = manager.require("prompt", "plain")
    resources = Models(manager)
    numbers = {}
    for model in MODELS:
        options = component.config.model_validate({"model": model, "precision": "float64"})
        backend = component.create(options, resources)
        prompt = plain.create(plain.config(), backend, resources)
        (scores,) = Scorer(model, backend, prompt, LIKELIHOODS)([selftest_window()])
        backend.close()
        numbers[model] = {
            name: {
                "logprob": [round(x, 9) for x in scores.columns[name].logprob.tolist()],
                "tokens": scores.columns[name].tokens.tolist(),
            }
            for name in LIKELIHOODS
        }
    TARGET.write_text(json.dumps(numbers, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"wrote {TARGET} ({TARGET.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
