"""Templates in which published scripts wrap an instruction. Changed by a letter, numbers change."""

from __future__ import annotations

from typing import NamedTuple

_TASK = "Below is an instruction that describes a task"
_WRITE = "Write a response that appropriately completes the request."
_VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. USER: "
)


class Wrapping(NamedTuple):
    """What stands before, between and behind instruction and input; without an input, what then."""

    before: str
    between: str
    behind: str
    before_alone: str
    behind_alone: str

    def __call__(self, instruction: str, more: str = "") -> str:
        """The prompt; `more` is the input."""
        if more:
            return f"{self.before}{instruction}{self.between}{more}{self.behind}"
        return f"{self.before_alone}{instruction}{self.behind_alone}"


ALPACA = Wrapping(
    f"{_TASK}, paired with an input that provides further context. {_WRITE}\n\n### Instruction:\n",
    "\n\n### Input:\n",
    "\n\n### Response:",
    f"{_TASK}. {_WRITE}\n\n### Instruction:\n",
    "\n\n### Response:",
)
WIZARDLM = Wrapping("", "\n", "\n\n### Response:", "", "\n\n### Response:")
VICUNA = Wrapping(_VICUNA, "\nInput:\n", " ASSISTANT:", _VICUNA, " ASSISTANT:")
