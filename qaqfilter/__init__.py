"""qaqfilter: which synthetic instruction records are worth training on?

The public names, nothing else. Start reading at `qaqfilter.hookspecs`.
"""

from qaqfilter.api import (
    load_recipe,
    plan,
    preview,
    run,
    score,
    score_recipe,
    select,
    select_recipe,
)
from qaqfilter.costs import Cost, Work
from qaqfilter.damages import Damage
from qaqfilter.errors import (
    BackendError,
    BackendHung,
    ModelError,
    NotScored,
    PluginError,
    PluginFailed,
    PromptError,
    PromptRefused,
    QaqfilterError,
    RecipeError,
    RunDirectoryError,
    SourceError,
    StoreError,
    TooManyBadRecords,
    UsageError,
)
from qaqfilter.execution import (
    Divided,
    Divisible,
    Executor,
    Killer,
    Prepares,
    Readied,
    ScoresTogether,
    Stage,
    Starts,
    Travels,
    WindowScores,
)
from qaqfilter.fences import Fenced, fenced_blocks, prose
from qaqfilter.finished import Finished, FinishedStep, Standing
from qaqfilter.hookspecs import hookimpl
from qaqfilter.joint import Joint, Limit, Whole
from qaqfilter.model_files import ChatTemplate, Locator, ModelFiles
from qaqfilter.named_paths import ExistingRecipePath, RecipePath
from qaqfilter.options import (
    ColumnWeights,
    ModelLocation,
    ModelName,
    Options,
    RecipeGlob,
    RunSeed,
)
from qaqfilter.order import nth_smallest
from qaqfilter.packing import pack, packed_names, unpack
from qaqfilter.pages import Page
from qaqfilter.progress import Silent
from qaqfilter.protocols import (
    Backend,
    Component,
    LoadsLate,
    Needs,
    PromptFormat,
    Resources,
    Source,
)
from qaqfilter.ranking import equal_count_bins, fractional_ranks
from qaqfilter.recipe import Recipe
from qaqfilter.reports import Observer, RunReport
from qaqfilter.selectors import Need, Paper, Selector
from qaqfilter.sinks import Annotates, Numbers, Sink
from qaqfilter.table import Table
from qaqfilter.tokens import TokenLogprobs
from qaqfilter.types import (
    LIKELIHOODS,
    BadRecord,
    Bools,
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
    TokenSequence,
    Turn,
    Window,
)

__version__ = "0.1.0"

__all__ = [
    "LIKELIHOODS",
    "Annotates",
    "Backend",
    "BackendError",
    "BackendHung",
    "BadRecord",
    "Bools",
    "ChatTemplate",
    "ColumnWeights",
    "Component",
    "Cost",
    "Damage",
    "Decisions",
    "Divided",
    "Divisible",
    "Executor",
    "ExistingRecipePath",
    "Fenced",
    "Finished",
    "FinishedStep",
    "Floats",
    "Ints",
    "Joint",
    "Killer",
    "LikelihoodColumn",
    "Limit",
    "LoadsLate",
    "Locator",
    "ModelError",
    "ModelFiles",
    "ModelLocation",
    "ModelName",
    "Need",
    "Needs",
    "NotScored",
    "Numbers",
    "Observer",
    "Options",
    "Origin",
    "Page",
    "Paper",
    "PluginError",
    "PluginFailed",
    "Prepares",
    "PromptError",
    "PromptFormat",
    "PromptRefused",
    "QaqfilterError",
    "Readied",
    "Recipe",
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
    "ScoresTogether",
    "Segment",
    "Selector",
    "Silent",
    "Sink",
    "Source",
    "SourceError",
    "Stage",
    "Standing",
    "Starts",
    "Status",
    "StoreError",
    "Table",
    "TokenLogprobs",
    "TokenSequence",
    "TooManyBadRecords",
    "Travels",
    "Turn",
    "UsageError",
    "Whole",
    "Window",
    "WindowScores",
    "Work",
    "equal_count_bins",
    "fenced_blocks",
    "fractional_ranks",
    "hookimpl",
    "load_recipe",
    "nth_smallest",
    "pack",
    "packed_names",
    "plan",
    "preview",
    "prose",
    "run",
    "score",
    "score_recipe",
    "select",
    "select_recipe",
    "unpack",
]
