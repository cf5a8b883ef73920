"""A preset beside the clean step of the same selector: numbers, ranks, and who is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from qaqfilter import Floats, fractional_ranks
from qaqfilter.keep import Keep, decide
from qaqfilter.types import Bools

Keys = Mapping[str, Any]


class Pair(NamedTuple):
    """A preset and the clean step that it is compared with.

    `clean` and `script` are the keys of steps that only score, `column` is the one that is
    judged, `keep` the preset's rule, by which both are judged.
    """

    preset: str
    clean: Keys
    script: Keys
    column: str
    keep: Keep


def pairs(presets: Mapping[str, Keys], *, two_models: bool) -> list[Pair]:
    """The presets that ask by a prompt of their own, each beside the same step without it.

    QAQ's script scores one model at a time. With one model its rmi is compared, with two what its
    README makes of them; the clean step then ranks in strata.
    """
    found = []
    for preset, keys in presets.items():
        if "prompt" not in keys:
            continue  # it is a clean step
        step = {key: value for key, value in keys.items() if key != "keep"}
        if step["use"] == "disagreement" and not two_models:
            step = {"use": "rmi", "prompt": step["prompt"]}
        clean = {key: value for key, value in step.items() if key not in ("prompt", "ranks")}
        column = str(step.get("variant", _FIRST[step["use"]]))
        found.append(Pair(preset, clean, step, column, Keep.model_validate(keys["keep"])))
    return found


_FIRST = {"disagreement": "diff", "rmi": "rmi", "ifd": "ifd_ppl", "rifd": "rifd_ppl"}
"""The column that is judged, where no option names it."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One score by two definitions, over the same records in the same order.

    Values are float64, NaN where undefined; `kept` is by the preset's rule, over these records.
    """

    pair: Pair
    clean: Floats
    script: Floats

    @property
    def both(self) -> Bools:
        """The records that have both numbers."""
        found: Bools = ~(np.isnan(self.clean) | np.isnan(self.script))
        return found

    @property
    def spearman(self) -> float:
        """Rank correlation over the records that have both numbers; NaN where there is none."""
        both = self.both
        clean, script = fractional_ranks(self.clean[both]), fractional_ranks(self.script[both])
        if both.sum() < 2 or np.ptp(clean) == 0 or np.ptp(script) == 0:
            return float("nan")
        return float(np.corrcoef(clean, script)[0, 1])

    @property
    def differences(self) -> Floats:
        """Script minus clean, one a record; NaN where either is undefined."""
        found: Floats = self.script - self.clean
        return found

    def kept(self, values: Floats) -> Bools:
        """Who is kept by the preset's rule."""
        nothing = np.zeros(len(values), dtype=np.int64)
        return decide(self.pair.keep, values, ("undefined",), nothing).kept

    def as_data(self, labels: Sequence[str]) -> dict[str, Any]:
        """Everything, as plain data; `labels` name the records."""
        clean, script = self.kept(self.clean), self.kept(self.script)
        both = self.differences[self.both]
        spread = np.quantile(both, (0.05, 0.5, 0.95)).tolist() if len(both) else [None] * 3
        union = int((clean | script).sum())
        return {
            "preset": self.pair.preset,
            "column": self.pair.column,
            "keep": self.pair.keep.model_dump(mode="json", exclude_defaults=True),
            "records": len(labels),
            "both": int(self.both.sum()),
            "clean_nulls": int(np.isnan(self.clean).sum()),
            "script_nulls": int(np.isnan(self.script).sum()),
            "spearman": _number(self.spearman),
            "kept_clean": int(clean.sum()),
            "kept_script": int(script.sum()),
            "kept_both": int((clean & script).sum()),
            "overlap": int((clean & script).sum()) / union if union else None,
            "difference": dict(zip(("p05", "median", "p95"), spread, strict=True)),
            "per_record": [
                {
                    "id": label,
                    "clean": _number(one),
                    "script": _number(other),
                    "kept_clean": bool(in_clean),
                    "kept_script": bool(in_script),
                }
                for label, one, other, in_clean, in_script in zip(
                    labels, self.clean, self.script, clean, script, strict=True
                )
            ],
        }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
