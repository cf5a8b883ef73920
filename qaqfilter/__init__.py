"""qaqfilter: which synthetic instruction records are worth training on?

The public names, nothing else. Start reading at `qaqfilter.hookspecs`.
"""

from qaqfilter.api import run, score_recipe, select_recipe, validate
from qaqfilter.costs import Cost, Work
from qaqfilter.errors import (
    BackendError,
    BackendHung,
    ModelError,
    NotScored,
    PluginError,
    PromptError,
    QaqfilterError,
    RecipeError,
    RunDirectoryError,
    SourceError,
    StoreError,
    TooManyBadRecords,
    UsageError,
)
from qaqfilter.execution import Executor, Stage, WindowScores
from qaqfilter.hookspecs import hookimpl
from qaqfilter.model_files import Locator, ModelFiles
from qaqfilter.options import ModelLocation, ModelName, Options, RecipeGlob, RecipePath, RunSeed
from qaqfilter.protocols import (
    Backend,
    Component,
    Need,
    Needs,
    PromptFormat,
    Resources,
    Selector,
    Sink,
    Source,
)
from qaqfilter.ranking import equal_count_bins, fractional_ranks
from qaqfilter.reports import Observer, RunReport
from qaqfilter.types import (
    LIKELIHOODS,
    BadRecord,
    Bools,
    ChatTemplate,
    Decisions,
    Floats,
    Ints,
    LikelihoodColumn,
    Origin,
    Record,
    Rejection,
    Request,
    Segment,
    Status,
    Table,
    TokenSequence,
    Window,
)

__version__ = "0.1.0"

__all__ = [
    "LIKELIHOODS",
    "Backend",
    "BackendError",
    "BackendHung",
    "BadRecord",
    "Bools",
    "ChatTemplate",
    "Component",
    "Cost",
    "Decisions",
    "Executor",
    "Floats",
    "Ints",
    "LikelihoodColumn",
    "Locator",
    "ModelError",
    "ModelFiles",
    "ModelLocation",
    "ModelName",
    "Need",
    "Needs",
    "NotScored",
    "Observer",
    "Options",
    "Origin",
    "PluginError",
    "PromptError",
    "PromptFormat",
    "QaqfilterError",
    "RecipeError",
    "RecipeGlob",
    "RecipePath",
    "Record",
    "Rejection",
    "Request",
    "Resources",
    "RunDirectoryError",
    "RunReport",
    "RunSeed",
    "Segment",
    "Selector",
    "Sink",
    "Source",
    "SourceError",
    "Stage",
    "Status",
    "StoreError",
    "Table",
    "TokenSequence",
    "TooManyBadRecords",
    "UsageError",
    "Window",
    "WindowScores",
    "Work",
    "equal_count_bins",
    "fractional_ranks",
    "hookimpl",
    "run",
    "score_recipe",
    "select_recipe",
    "validate",
]
