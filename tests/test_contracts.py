"""The contracts run on every bundled plugin; that they bite is shown in test_contracts_bite.py."""

from __future__ import annotations

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qaqfilter import LIKELIHOODS, SourceError
from qaqfilter.manager import load_plugins
from qaqfilter.testing import (
    BackendContract,
    ComponentContract,
    DamageContract,
    ExecutorContract,
    HereResources,
    PageContract,
    PromptContract,
    SelectorContract,
    SinkContract,
    SourceContract,
    VerbatimSinkContract,
)
from qaqfilter_llamacpp import LlamaCppOptions
from qaqfilter_ngram import NgramOptions
from qaqfilter_ngram.backend import NgramBackend
from qaqfilter_ray.muting import muted_start
from qaqfilter_transformers import TransformersOptions
from tiny_models import export_gguf, make_model

# --- backends ---------------------------------------------------------------------------
# `reference` is in test_reference.py and test_embedded.py, which have its numbers too.


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture(scope="session")
def other_folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("tiny") / "other", seed=1)


class TestNgram(BackendContract):
    tolerance = 0.0

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls):
        return NgramBackend(NgramOptions(), HereResources())

    @pytest.fixture(scope="class")
    @classmethod
    def other_backends(cls, tmp_path_factory):
        text = tmp_path_factory.mktemp("fit") / "other.txt"
        text.write_text("Another text.")
        others = ({"order": 3}, {"add_k": 0.5}, {"cache": 0.25}, {"fit": [str(text)]})
        return [NgramBackend(NgramOptions(**other), HereResources()) for other in others]


class TestTransformers(BackendContract):
    tolerance = 1e-4

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, llama_folder):
        from qaqfilter_transformers.backend import TransformersBackend

        options = TransformersOptions.model_validate({"model": str(llama_folder), "device": "cpu"})
        backend = TransformersBackend(options, HereResources())
        yield backend
        backend.close()

    @pytest.fixture(scope="class")
    @classmethod
    def other_backends(cls, llama_folder, other_folder):
        from qaqfilter_transformers.backend import TransformersBackend

        others = [
            {"model": str(other_folder), "device": "cpu"},
            {"model": str(llama_folder), "device": "cpu", "dtype": "bfloat16"},
        ]
        others = [TransformersOptions.model_validate(other) for other in others]
        opened = [TransformersBackend(other, HereResources()) for other in others]
        yield opened
        for backend in opened:
            backend.close()


class TestLlamaCpp(BackendContract):
    """One sequence at a time: neighbours change not a bit."""

    tolerance = 0.0

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, llama_folder):
        from qaqfilter_llamacpp.backend import LlamaCppBackend

        path = export_gguf(llama_folder, llama_folder.parent / "llama.gguf")
        options = LlamaCppOptions.model_validate({"model": str(path)})
        backend = LlamaCppBackend(options, HereResources())
        yield backend
        backend.close()

    @pytest.fixture(scope="class")
    @classmethod
    def other_backends(cls, llama_folder, other_folder):
        from qaqfilter_llamacpp.backend import LlamaCppBackend

        path = export_gguf(llama_folder, llama_folder.parent / "again.gguf")
        other = export_gguf(other_folder, other_folder.parent / "other.gguf")
        others = [{"model": str(other)}, {"model": str(path), "kv_type": "f32"}]
        others = [LlamaCppOptions.model_validate(other) for other in others]
        opened = [LlamaCppBackend(other, HereResources()) for other in others]
        yield opened
        for backend in opened:
            backend.close()


# --- everything that is installed, by kind ----------------------------------------------

MANAGER = load_plugins()


def offered(kind):
    """Every installed component of a kind; a new plugin is under its contract at once."""
    return [pytest.param(MANAGER.component(kind, name), id=name) for name in MANAGER.names(kind)]


OTHERS = ("backend", "preset", "model", "command")


class TestTheRest(ComponentContract):
    """Kinds whose objects have tests of their own elsewhere: their name, options and needs."""

    @pytest.fixture(params=[one for kind in OTHERS for one in offered(kind)])
    def component(self, request):
        return request.param

    @pytest.fixture
    def options(self, component):
        needed = component.config.model_json_schema().get("required", [])
        return dict.fromkeys(needed, "path:.")


SELECTOR_OPTIONS = {
    "combine": {"of": {"a.x": 1, "b.y": -0.5}},
    "diversity": {"top": 5},
    "disagreement": {"strong": "m", "weak": "n"},
    "loss_gap": {"reference": "n"},
}
# Which of two copies is dropped, and which of two equals is picked, is a matter of order.
ORDERED = {"diversity", "exact_duplicates", "near_duplicates"}


class TestSelectors(SelectorContract):
    @pytest.fixture(params=offered("selector"))
    def component(self, request):
        return request.param

    @pytest.fixture
    def options(self, component):
        needed = component.config.model_json_schema().get("required", [])
        known = {"model": "m", "seed": 1}
        return {name: known[name] for name in needed if name in known} | SELECTOR_OPTIONS.get(
            component.name, {}
        )

    @pytest.fixture
    def other_columns(self, component):
        return ("a.x", "b.y") if component.name == "combine" else ()

    @pytest.fixture
    def order_matters(self, component):
        return component.name in ORDERED


# --- sources: each gets its kind of file ------------------------------------------------

ROWS = [{"query": q, "answer": a} for q, a in (("a", "b\n"), ('ü, "x"', "∑"), ("c", "d"))]
LINES = [orjson.dumps(row) + b"\n" for row in ROWS]
ODD_LINES = [b' {"query": "a",  "answer": "b"} \r\n', *LINES, b'{"answer": "e", "query": "f"}']


def write_jsonl(path):
    path.with_suffix(".jsonl").write_bytes(b"".join(ODD_LINES))
    bad = path.with_name("bad.jsonl")
    bad.write_bytes(LINES[0] + b'{"query": \n[1]\n' + LINES[1])
    return path.with_suffix(".jsonl"), bad, ODD_LINES


def write_json(path):
    path.with_suffix(".json").write_bytes(orjson.dumps(ROWS))
    bad = path.with_name("bad.json")
    bad.write_bytes(orjson.dumps([ROWS[0], 7, ROWS[1]]))
    return path.with_suffix(".json"), bad, [line.strip() for line in LINES]


def write_csv(path):
    rows = 'query,answer\na,"b\n"\n"ü, ""x""",∑\nc,d\n'
    path.with_suffix(".csv").write_text(rows, encoding="utf-8", newline="")
    bad = path.with_name("bad.csv")
    bad.write_text("query,answer\na,b\nonly one\nc,d\n", encoding="utf-8", newline="")
    return path.with_suffix(".csv"), bad, LINES


def write_parquet(path):
    pq.write_table(pa.Table.from_pylist(ROWS), path.with_suffix(".parquet"))
    bad = path.with_name("bad.parquet")
    pq.write_table(pa.Table.from_pylist([ROWS[0], {"query": None}, ROWS[1]]), bad)
    return path.with_suffix(".parquet"), bad, LINES


def write_datasets(path):
    import datasets

    datasets.Dataset.from_list(ROWS).save_to_disk(path)
    bad = path.with_name("bad")
    datasets.Dataset.from_list([ROWS[0], {"query": None, "answer": "a"}, ROWS[1]]).save_to_disk(bad)
    return path, bad, LINES


WRITERS = {
    "jsonl": write_jsonl,
    "json": write_json,
    "csv": write_csv,
    "parquet": write_parquet,
    "datasets": write_datasets,
}


class TestSources(SourceContract):
    @pytest.fixture(params=offered("source"))
    def component(self, request):
        return request.param

    @pytest.fixture
    def written(self, component, tmp_path):
        """(a file, one with a bad row, the rows of the first); None for what reads no files."""
        if component.name == "docstrings":
            return None
        return WRITERS[component.name](tmp_path / "data")

    @pytest.fixture
    def options(self, written):
        return {"package": "json"} if written is None else {"path": str(written[0])}

    @pytest.fixture
    def bad_options(self, written):
        return None if written is None else {"path": str(written[1])}

    @pytest.fixture
    def missing_options(self, component, written, tmp_path):
        if written is None:
            return {"package": "no_such_package"}
        if component.name == "datasets":  # where nothing is, the options are refused already
            tmp_path.joinpath("empty").mkdir()
            return {"path": str(tmp_path / "empty")}
        return {"path": str(tmp_path / "no_such_file")}

    @pytest.fixture
    def expected_rows(self, written):
        return None if written is None else written[2]


# --- sinks: read back by the source of the same name ------------------------------------


class OurSinks:
    @pytest.fixture
    def read_back(self, component):
        def read(folder):
            source = MANAGER.component("source", component.name)
            (path,) = folder.glob("kept*")
            fields = {"query": "query", "answer": "answer"}
            options = {"path": str(path), "fields": fields}
            try:
                found = source.create(source.config.model_validate(options)).read()
                return [dict(one.fields) for one in found]
            except SourceError:
                return []

        return read


class TestSinks(OurSinks, SinkContract):
    @pytest.fixture(params=[one for one in offered("sink") if one.id != "jsonl"])
    def component(self, request):
        return request.param


class TestJsonlSink(VerbatimSinkContract):
    @pytest.fixture
    def component(self):
        return MANAGER.component("sink", "jsonl")


# --- prompts, executors, damages --------------------------------------------------------

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# What published scripts ask for; the rest has all four.
KNOWN = {
    "superfiltering": ("answer", "answer_given_query"),
    "cherry": ("answer", "answer_given_query"),
    "qaq_repo": ("query", "query_given_answer"),
}


class TestPrompts(PromptContract):
    @pytest.fixture(params=offered("prompt"))
    def component(self, request):
        return request.param

    @pytest.fixture
    def options(self, component, tmp_path):
        if component.name in {"chat", "qaq_repo"}:
            (tmp_path / "chat.jinja").write_text(TEMPLATE)
            return {"template": str(tmp_path / "chat.jinja")}
        if component.name == "jinja":
            return {"answer_given_query": "Q: {{ query }}\nA: {{ answer }}"}
        return {}

    @pytest.fixture
    def known(self, component, prompt):
        if component.name == "jinja":
            return ("answer_given_query",)
        return KNOWN.get(component.name, LIKELIHOODS)


class TestExecutors(ExecutorContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def cluster(cls):
        """Ray, started once for all rules: the executor goes to the cluster that is there."""
        import ray

        with muted_start():
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()

    @pytest.fixture(params=offered("executor"))
    def component(self, request):
        return request.param


class TestDamages(DamageContract):
    @pytest.fixture(params=offered("damage"))
    def component(self, request):
        return request.param


class TestPages(PageContract):
    @pytest.fixture(params=offered("page"))
    def component(self, request):
        return request.param


def test_every_kind_has_a_contract():
    """A kind that is added is put under one."""
    from qaqfilter.manager import KINDS

    ours = {"source", "sink", "selector", "prompt", "executor", "damage", "page"}
    assert ours | {*OTHERS} == {*KINDS}
