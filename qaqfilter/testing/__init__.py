"""Contracts that plugin authors inherit: override one fixture, get the suite.

class TestComments(SelectorContract):
    @pytest.fixture
    def component(self):
        return next(qaqfilter_comments.qaqfilter_selectors())

Every rule of docs/hooks.md that can be checked from outside is a test; one that fails says the
rule and where to read on. Needs pytest: ``pip install 'qaqfilter[testing]'``.
"""

from qaqfilter.testing.backends import TEXTS, BackendContract, scored_alone, sequences_of
from qaqfilter.testing.components import ComponentContract
from qaqfilter.testing.damages import DamageContract
from qaqfilter.testing.executors import CountingStage, ExecutorContract
from qaqfilter.testing.pages import PageContract
from qaqfilter.testing.prompts import PromptContract
from qaqfilter.testing.rules import rule
from qaqfilter.testing.samples import HereResources, many_records, table_for
from qaqfilter.testing.samples import records as tiny_records
from qaqfilter.testing.selectors import SelectorContract
from qaqfilter.testing.sinks import SinkContract, VerbatimSinkContract
from qaqfilter.testing.sources import SourceContract

__all__ = [
    "TEXTS",
    "BackendContract",
    "ComponentContract",
    "CountingStage",
    "DamageContract",
    "ExecutorContract",
    "HereResources",
    "PageContract",
    "PromptContract",
    "SelectorContract",
    "SinkContract",
    "SourceContract",
    "VerbatimSinkContract",
    "many_records",
    "rule",
    "scored_alone",
    "sequences_of",
    "table_for",
    "tiny_records",
]
