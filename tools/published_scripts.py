"""Runs the published scripts and keeps what they give, for tests/test_published.py.

    python tools/published_scripts.py FOLDER      writes tests/data/published.json

FOLDER holds checkouts of the four repositories (`SCRIPTS` says which files of which commits), none
of which is part of this project. They are run as they are, but for the class of the model and of
the tokenizer where one is hard-coded, and the number type: float32. Needs the extra `transformers`.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from published import LENGTHS, NUMBERS, TOKENIZERS, make_model, records

SCRIPTS = {
    "superfiltering": ("tianyi-lab/Superfiltering", "f0764afa536ec910b994d1d6aa2b883354505f4f"),
    "cherry": ("tianyi-lab/Cherry_LLM", "01fac8d2febb51dbd1501ec594a20e499b51fe7d"),
    "rifd": ("tianyi-lab/Reflection_Tuning", "5b6cef0fc912ce4616c7b83dcefce1ebeaa77bf1"),
    "qaq-repo": ("XXSg559/QAQ", "11ee1c0c8b0dfc9dac493186b636950d0680cfd3"),
}
"""Preset: repository and commit."""
CHANGES = {
    "LlamaForCausalLM": "AutoModelForCausalLM",
    "LlamaTokenizer": "AutoTokenizer",
    "torch.float16": "torch.float32",
}
KEPT = 7
"""Records that Superfiltering's script is asked for: it takes a share of 52,002."""


class Scripts:
    """Runs scripts of one checkout after the other in a folder of their own."""

    def __init__(self, checkouts: Path, work: Path) -> None:
        self._checkouts, self._work = checkouts, work

    def run(self, preset: str, script: str, **options: object) -> None:
        """Run one script with these options."""
        source = self._checkouts / SCRIPTS[preset][0].rpartition("/")[2] / script
        text = source.read_text(encoding="utf-8")
        for hard_coded, general in CHANGES.items():
            text = text.replace(hard_coded, general)
        copy = self._work / "script.py"
        copy.write_text(text, encoding="utf-8")
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        command = [sys.executable, str(copy), *words]
        done = subprocess.run(command, cwd=self._work, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{source}: {done.stderr}")

    def superfiltering(self, data: Path, model: Path) -> dict[str, Any]:
        scores, joined, kept = (self._work / name for name in ("s.jsonl", "s.json", "kept.json"))
        self.run(
            "superfiltering",
            "code_ifd/data_analysis.py",
            data_path=data,
            save_path=scores,
            model_name_or_path=model,
            max_length=LENGTHS["superfiltering"],
        )
        self.run(
            "superfiltering",
            "code_ifd/put_analysis_to_data.py",
            pt_data_path=scores,
            json_data_path=data,
            json_save_path=joined,
        )
        self.run(
            "superfiltering",
            "code_ifd/select_data.py",
            json_data_path=joined,
            json_save_path=kept,
            sample_rate=(KEPT + 0.5) / 52002,
        )
        losses = [json.loads(line)["loss"] for line in scores.read_text().splitlines()]
        return {
            "answer": [loss[1] for loss in losses],
            "answer_given_query": [loss[3] for loss in losses],
            "ifd_ppl": [row["ifd_ppl"] for row in json.loads(joined.read_text())],
            "kept": sorted(row["id"] for row in json.loads(kept.read_text())),
        }

    def cherry(self, data: Path, model: Path) -> dict[str, Any]:
        import torch

        scores, joined, kept = (self._work / name for name in ("c.pt", "c.json", "kept.json"))
        common = {"model_name_or_path": model, "max_length": LENGTHS["cherry"], "prompt": "alpaca"}
        self.run(
            "cherry",
            "cherry_seletion/data_analysis.py",
            data_path=data,
            save_path=scores,
            mod="cherry",
            **common,
        )
        after = {"pt_data_path": scores, "json_data_path": data, **common}
        self.run("cherry", "cherry_seletion/data_by_IFD_vic.py", json_save_path=joined, **after)
        self.run(
            "cherry",
            "cherry_seletion/data_by_IFD.py",
            json_save_path=kept,
            sample_rate=0.1,
            **after,
        )
        perplexities = [row["ppl"] for row in torch.load(scores)]
        return {
            "answer": [math.log(float(ppl[1])) for ppl in perplexities],
            "answer_given_query": [math.log(float(ppl[2])) for ppl in perplexities],
            "ifd_nll": [row["ifd_score"] for row in json.loads(joined.read_text())],
            "kept": sorted(row["id"] for row in json.loads(kept.read_text())),
        }

    def rifd(self, data: Path, model: Path) -> dict[str, Any]:
        scores, joined = (self._work / name for name in ("r.jsonl", "r.json"))
        self.run(
            "rifd",
            "selection_code/data_analysis.py",
            data_path=data,
            save_path=scores,
            model_name_or_path=model,
            max_length=LENGTHS["rifd"],
        )
        self.run(
            "rifd",
            "selection_code/put_analysis_to_data.py",
            pt_data_path=scores,
            json_data_path=data,
            json_save_path=joined,
        )
        losses = [json.loads(line)["loss"] for line in scores.read_text().splitlines()]
        names = ("query", "answer", "query_given_answer", "answer_given_query")
        rows = json.loads(joined.read_text())
        return {name: [loss[n] for loss in losses] for n, name in enumerate(names)} | {
            "rifd_ppl": [row["rifd_ppl"] for row in rows],
            "kept": sorted(row["id"] for row in rows if row["rifd_ppl"] < 1),
        }

    def qaq_repo(self, data: Path, strong: Path, weak: Path) -> dict[str, Any]:
        import pandas

        first, both = (self._work / name for name in ("q1.jsonl", "q2.jsonl"))
        length = LENGTHS["qaq-repo"]
        for source, model, result in ((data, strong, first), (first, weak, both)):
            self.run(
                "qaq-repo",
                "rmi_math.py",
                data_path=source,
                output_path=result,
                model_name=model,
                max_length=length,
            )
        rows = [json.loads(line) for line in both.read_text().splitlines()]
        found: dict[str, Any] = {}
        for model in (strong, weak):
            for ours, theirs in (("query", "log_PPL_Q"), ("query_given_answer", "log_PPL_Q_A")):
                found[f"{model.name}.{ours}"] = [row[f"{model.name}_{theirs}"] for row in rows]
        # Selection is not in the script; the README of its repository says it in words like these.
        names = (strong.name, weak.name)
        rmi = pandas.DataFrame({name: [row[f"{name}_RMI"] for row in rows] for name in names})
        ranks = rmi.rank(pct=True)
        diff = ranks[strong.name] - ranks[weak.name]
        best = diff.nlargest(int(len(diff) * 0.25)).index
        return found | {"diff": diff.tolist(), "kept": sorted(rows[n]["id"] for n in best)}


def main() -> None:
    """Every script with every tokenizer."""
    checkouts = Path(sys.argv[1]).absolute()
    found: dict[str, Any] = {
        "origin": {name: f"{repo} at {commit}" for name, (repo, commit) in SCRIPTS.items()},
        "changes": CHANGES,
        "max_length": LENGTHS,
        "numbers": {},
    }
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        data = work / "data.json"
        rows = records()
        data.write_text(json.dumps(rows), encoding="utf-8")
        pairs = work / "pairs.jsonl"
        with pairs.open("w", encoding="utf-8") as file:
            for row in rows:
                more = f"\n{row['input']}" if row["input"] else ""
                pair = {"problem": row["instruction"] + more, "generations": row["output"]}
                file.write(json.dumps({"id": row["id"], **pair}) + "\n")
        scripts = Scripts(checkouts, work)
        for tokenizer in TOKENIZERS:
            strong, weak = (
                make_model(work / tokenizer / name, name, tokenizer) for name in ("strong", "weak")
            )
            found["numbers"][tokenizer] = {
                "superfiltering": scripts.superfiltering(data, strong),
                "cherry": scripts.cherry(data, strong),
                "rifd": scripts.rifd(data, strong),
                "qaq-repo": scripts.qaq_repo(pairs, strong, weak),
            }
            print(f"{tokenizer}: done")
            for file in work.glob("[scrqk]*.*"):
                file.unlink()
    NUMBERS.parent.mkdir(exist_ok=True)
    NUMBERS.write_text(_readable(found) + "\n", encoding="utf-8")


def _readable(found: dict[str, Any]) -> str:
    """JSON with a line for each list; what is not finite becomes null."""

    def finite(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.9g}") if math.isfinite(value) else None
        if isinstance(value, list):
            return [finite(item) for item in value]
        if isinstance(value, dict):
            return {key: finite(item) for key, item in value.items()}
        return value

    lines = json.dumps(finite(found), indent=1, ensure_ascii=False)
    return re.sub(r"\[[^\[\]{}]*\]", lambda m: " ".join(m[0].split()), lines)


if __name__ == "__main__":
    main()
