"""The documentation is run: what a page shows is what happens.

Every page has a temporary folder, its working directory, in which its fenced blocks are worked
through from top to bottom:

python   executed, all blocks of a page in one module
yaml     a whole recipe (`version: 1`) is validated, and run where that takes no download;
         anything else is parsed
console  `$ qaqfilter`, `$ python`, `$ pytest`, `$ cat` and the like are executed, and the output
         shown has to come (see `outputs_agree`); `$ make`, `$ pip install`, `$ git` are checked

An HTML comment on the line before a block says more, `;` between:

<!-- file: name -->      write the block to this file; python is then a module of its own
<!-- copy of: path -->   the block has to be this file of the repository, to the letter
<!-- plugin: file.py -->  validate and run this recipe with that plugin
<!-- invalid -->         this recipe must be refused
<!-- not run: why -->    check the block as far as that goes without running it
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

import qaqfilter
from qaqfilter.hookspecs import Specs
from qaqfilter.manager import KINDS, load_plugins
from qaqfilter.recipe import Recipe

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINKED = sorted([*PAGES, *ROOT.glob("C*.md"), *EXAMPLES.rglob("README.md")])
COMMAND = [sys.executable, "-c", "from qaqfilter.cli import main; main()"]
VERBS_OF_DOCS = {"file", "copy of", "plugin", "invalid", "not run"}


RUN_AS_THEY_ARE = {"cat", "head", "ls"}


class DocsError(AssertionError):
    """A page promises what does not happen; the message begins with page:line."""


# --- pages ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, what the comment before it says, and its place."""

    page: str
    line: int
    language: str
    text: str
    told: dict[str, str]

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    def fail(self, why: str, line: int | None = None) -> DocsError:
        return DocsError(f"{self.page}:{line or self.line}: {why}")


def blocks(text: str, page: str) -> Iterator[Block]:
    """Every fenced block of a page, also those inside lists."""
    told: dict[str, str] = {}
    for token in MarkdownIt().parse(text):
        if token.type == "html_block":
            told = _told(token.content, f"{page}:{token.map[0] + 1}")
        elif token.type == "fence":
            yield Block(page, token.map[0] + 1, token.info.strip(), token.content, told)
            told = {}
        elif token.type.endswith("_open"):
            told = {}


def _told(comment: str, place: str) -> dict[str, str]:
    found = re.fullmatch(r"<!--\s*(.*?)\s*-->\s*", comment, re.DOTALL)
    parts = [part.partition(":") for part in found[1].split(";")] if found else []
    told = {key.strip(): value.strip() for key, _, value in parts}
    if VERBS_OF_DOCS.isdisjoint(told):
        return {}  # a comment for people
    if unknown := set(told) - VERBS_OF_DOCS:
        raise DocsError(f"{place}: the comment says {', '.join(unknown)}, which means nothing")
    return told


# --- the page's folder, and what is done in it --------------------------------------------


class Reader:
    """Somebody who follows a page to the letter, in a folder of their own."""

    def __init__(self, folder: Path, page: str) -> None:
        self.folder = folder
        self.module = ModuleType("page_" + re.sub(r"\W", "_", page))
        self.runs = 0

    def follow(self, block: Block) -> None:
        """Do what one block says. Raises DocsError."""
        if "copy of" in block.told:
            original = ROOT / block.told["copy of"]
            if not original.is_file() or original.read_text(encoding="utf-8") != block.text:
                raise block.fail(f"is not a copy of {block.told['copy of']}")
        if "file" in block.told:
            path = self.folder / block.told["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        follow = {"python": self._python, "yaml": self._yaml, "console": self._console}
        if block.language in follow:
            follow[block.language](block)
        elif block.language not in ("", "text", "json", "toml", "makefile"):
            raise block.fail(f"no test knows what to do with {block.language!r}")
        elif block.language == "json":
            lines = block.told.get("file", "").endswith(".jsonl")
            for line in block.text.splitlines() if lines else [block.text]:
                json.loads(line)

    def _python(self, block: Block) -> None:
        """Tracebacks name the page, and the line in it."""
        source = "\n" * block.line + block.text
        module = self.module
        if "file" in block.told:
            module = ModuleType("file_" + re.sub(r"\W", "_", block.told["file"]))
        try:
            code = compile(source, block.page, "exec", dont_inherit=True)
            if "not run" not in block.told:
                sys.modules[module.__name__] = module  # where pydantic looks names up
                exec(code, vars(module))
        except DocsError:
            raise
        except SyntaxError as error:
            raise block.fail(f"{type(error).__name__}: {error}", error.lineno) from error
        except BaseException as error:
            line, trace = block.line, error.__traceback__
            while trace is not None:
                if trace.tb_frame.f_code.co_filename == block.page:
                    line = trace.tb_lineno
                trace = trace.tb_next
            raise block.fail(f"{type(error).__name__}: {error}", line) from error

    def _yaml(self, block: Block) -> None:
        try:
            data = YAML(typ="safe").load(block.text)
        except Exception as error:
            raise block.fail(f"not YAML: {error}") from error
        if not isinstance(data, dict) or data.get("version") != 1:
            return
        path = self.folder / block.told.get("file", f"recipe-at-line-{block.line}.yaml")
        path.write_text(block.text, encoding="utf-8")
        plugins = [self.folder / block.told["plugin"]] if "plugin" in block.told else []
        try:
            recipe = qaqfilter.load_recipe(path, plugins=plugins)
        except qaqfilter.RecipeError as error:
            if "invalid" in block.told or lacks_only_extras(error):
                return
            raise block.fail(f"the recipe is not valid: {error}") from error
        if "invalid" in block.told:
            raise block.fail("this recipe should be refused, and is valid")
        if "not run" not in block.told and is_quick(recipe):
            self.runs += 1
            scratch = f"output.path={self.folder / f'scratch-{self.runs}'}"
            try:
                qaqfilter.run(path, plugins=plugins, overrides=[scratch, "run.store=false"])
            except qaqfilter.QaqfilterError as error:
                raise block.fail(f"the recipe does not run: {error}") from error

    def _console(self, block: Block) -> None:
        for line, words, shown in commands(block):
            if "not run" in block.told:
                check_unrun(block, line, words)
            else:
                self._command(block, line, words, shown)

    def _command(self, block: Block, line: int, words: list[str], shown: list[str]) -> None:
        extra = {}
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, value = words.pop(0).partition("=")
            extra[name] = value
        program, *arguments = words
        if program == "qaqfilter":
            command = [*COMMAND, *arguments]
        elif program == "python":
            command = [sys.executable, *arguments]
        elif program == "pytest":
            command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        elif program in RUN_AS_THEY_ARE:
            command = words
        else:
            check_unrun(block, line, words)
            return
        environment = {
            **os.environ,
            "COLUMNS": "100",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(self.folder),
            **extra,
        }
        done = subprocess.run(
            command,
            check=False,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=600,
        )
        fails = any(text.startswith("error:") for text in shown)
        if (done.returncode != 0) != fails:
            raise block.fail(f"exit code {done.returncode}: {done.stdout}", line)
        if not outputs_agree(shown, done.stdout.splitlines()):
            raise block.fail(
                "the output shown does not come\n--- shown\n"
                + "\n".join(shown)
                + f"\n--- came\n{done.stdout}",
                line,
            )


def commands(block: Block) -> Iterator[tuple[int, list[str], list[str]]]:
    """(line, words, shown output) of every command; `\\` at its end continues a command."""
    lines = block.text.splitlines()
    starts = [n for n, text in enumerate(lines) if text.startswith("$ ")]
    if not starts or starts[0] != 0:
        raise block.fail("a console block begins with `$ `")
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        last = start
        while lines[last].endswith("\\"):
            last += 1
        text = " ".join(line.removesuffix("\\") for line in lines[start : last + 1])
        lexer = shlex.shlex(text.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        if any(word in ("|", ">", ">>", "<", "&&", "||", ";", "&") for word in words):
            raise block.fail("no shell runs this: one command a line", block.line + 1 + start)
        yield block.line + 1 + start, words, lines[last + 1 : end]


def check_unrun(block: Block, line: int, words: list[str]) -> None:
    """What is known of a command without running it: make targets, extras, our verbs."""
    program, *arguments = words
    if program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
        if unknown := [a for a in arguments if "=" not in a and a not in targets]:
            raise block.fail(f"the Makefile has no target {unknown[0]!r}", line)
    elif program == "pip":
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        for extras in re.findall(r"(?:qaqfilter|\.)\[([^\]]*)\]", " ".join(arguments)):
            for extra in extras.split(","):
                if extra not in known["optional-dependencies"]:
                    raise block.fail(f"there is no extra {extra!r}", line)
        folders = [a for a in arguments if a.startswith("./")]
        if missing := [f for f in folders if not (ROOT / f / "pyproject.toml").is_file()]:
            raise block.fail(f"nothing to install in {missing[0]}", line)
    elif program == "qaqfilter":
        from qaqfilter.cli import VERBS

        verbs = {*VERBS, *load_plugins().names("command")}

        if arguments[0].lstrip("-") == arguments[0] and arguments[0] not in verbs:
            raise block.fail(f"qaqfilter has no verb {arguments[0]!r}", line)
    elif program not in ("git", "cd", "python", "pytest", *RUN_AS_THEY_ARE):
        raise block.fail(f"no test knows the command {program!r}", line)


def outputs_agree(shown: list[str], came: list[str]) -> bool:
    """Whether the lines shown come, in this order, others perhaps between them.

    Numbers that differ from run to run agree with one another: those with a decimal point, and
    whole ones of five digits or more. White space and the strokes of tables do not count, and
    `…` stands for anything.
    """
    rest = iter([_levelled(line) for line in came])
    wanted = [_levelled(line) for line in shown]
    patterns = [re.escape(line).replace("…", ".*") for line in wanted if line]
    return all(any(re.fullmatch(pattern, line) for line in rest) for pattern in patterns)


def _levelled(line: str) -> str:
    line = re.sub(r"[─━┃│┏┓┗┛┡┩├┤└┘┬┴┼╇╈┳┻╋]", " ", line)
    measured = r"\d+" if "tokens/s" in line else r"-?\d+\.\d+(e-?\d+)?|\b\d{5,}\b"
    line = re.sub(measured, "#", line)
    return " ".join(line.split())


def lacks_only_extras(error: qaqfilter.RecipeError) -> bool:
    """Whether a recipe would be valid with more installed: no fault of the page."""
    return all("not installed here. Mend it with: pip install" in p for p in error.problems)


def is_quick(recipe: Recipe) -> bool:
    """Whether a recipe runs in no time on what the page itself has made."""
    backends = {model.backend.component.name for model in recipe.models.values()}
    path = getattr(recipe.source.options, "path", None)
    return backends <= {"ngram"} and isinstance(path, str) and Path(path).is_file()


# --- tests of the pages -------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_page_does_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(page.relative_to(ROOT))
    follow_page(page.read_text(encoding="utf-8"), name, tmp_path, monkeypatch)


def follow_page(text: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work through a page in `folder`, which gets a copy of the examples."""
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("out", "__*"))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = set(sys.modules)
    reader = Reader(folder, name)
    try:
        for block in blocks(text, name):
            reader.follow(block)
    finally:
        for module in set(sys.modules) - before:
            if module.startswith(("page_", "file_")) or _is_below(sys.modules[module], folder):
                del sys.modules[module]


def _is_below(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).is_relative_to(folder)


@pytest.mark.parametrize("recipe", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_example_recipe_is_valid(recipe: Path) -> None:
    try:
        qaqfilter.load_recipe(recipe)
    except qaqfilter.RecipeError as error:
        if not lacks_only_extras(error):
            raise


def test_there_are_pages_and_examples() -> None:
    assert {page.name for page in PAGES} >= {
        "README.md",
        "accuracy.md",
        "architecture.md",
        "first-recipe.md",
        "hooks.md",
        "index.md",
        "methods.md",
        "plugins.md",
        "recipe-reference.md",
    }
    assert list(EXAMPLES.glob("*.yaml"))


# --- hooks, reference, links ----------------------------------------------------------------


def hook_headings() -> dict[str, str]:
    """Hook -> its heading: the name with its arguments, as in hookspecs.py."""
    found = {}
    for name, hook in vars(Specs).items():
        if name.startswith("qaqfilter_"):
            arguments = list(inspect.signature(hook).parameters)[1:]
            found[name] = f"{name}({', '.join(arguments)})"
    return found


def test_every_hook_has_one_heading_with_its_arguments() -> None:
    text = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    told = [t.replace("`", "") for _, t in headings(text) if "qaqfilter_" in t]
    assert told == list(hook_headings().values())


def test_every_hook_that_offers_components_says_what_create_gets() -> None:
    """As `create(config, folder: Path) -> Sink` in hookspecs.py, without the types."""
    text = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    for name in KINDS.values():
        told = re.search(r"`create\(([^)]*)\) ->", inspect.getdoc(getattr(Specs, name)) or "")
        assert told is not None, name
        arguments = ", ".join(part.partition(":")[0] for part in told[1].split(", "))
        section = text.partition(f"\n## `{name}()`\n")[2].partition("\n## ")[0]
        assert f"**Create** gets `({arguments})`" in section, name


def test_the_recipe_reference_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location(
        "recipe_reference", ROOT / "tools" / "recipe_reference.py"
    )
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    code = tool.main(["--check"])
    assert code == 0, capsys.readouterr().out


def test_architecture_has_a_line_for_every_core_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w.]+/?)` \|", text, re.MULTILINE)
    core = ROOT / "qaqfilter"
    packages = {f"{path.parent.name}/" for path in core.glob("*/__init__.py")}
    assert sorted(listed) == sorted({path.name for path in core.glob("*.py")} | packages)


def test_every_selector_has_a_page_with_its_column_and_a_recipe() -> None:
    folder = ROOT / "docs" / "selectors"
    listed = (folder / "index.md").read_text(encoding="utf-8")
    bundled = set(load_plugins().names("selector"))
    assert bundled == {page.stem for page in folder.glob("*.md")} - {"index"}
    for name in bundled:
        text = (folder / f"{name}.md").read_text(encoding="utf-8")
        told = [heading.partition(":")[0] for _, heading in headings(text)]
        assert told[0] == name
        assert {"What it misses", "Cost", "When to use it"} <= set(told), name
        recipes = [block.text for block in blocks(text, name) if block.language == "yaml"]
        assert any(f"use: {name}" in recipe for recipe in recipes), name
        assert f"[{name}]({name}.md)" in listed or f"[`{name}`]({name}.md)" in listed


def headings(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every heading."""
    tokens = MarkdownIt().parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            yield opening.map[0] + 1, inline.content


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives headings; a second of one name gets -1."""
    found: set[str] = set()
    for _, heading in headings(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


def links(text: str) -> Iterator[tuple[int, str]]:
    """(line, address) of every link and image."""
    for token in MarkdownIt().enable("table").parse(text):
        for child in token.children or ():
            if child.type in ("link_open", "image"):
                address = child.attrGet("href") or child.attrGet("src")
                yield (token.map[0] + 1 if token.map else 1), str(address)


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links that lead to no file, or to no heading of one."""
    found = []
    for line, address in links(text):
        if re.match(r"[a-z]+:", address):
            continue
        file, _, anchor = address.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists():
            found.append(f"{page.name}:{line}: {address}: no such file")
        elif anchor and anchor not in anchors(
            text if target == page else target.read_text(encoding="utf-8")
        ):
            found.append(f"{page.name}:{line}: {address}: no such heading")
    return found


@pytest.mark.parametrize("page", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


# --- the tests above do fail ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("# A\n\n```python\nx = 1\nassert x == 2\n```\n", r"page\.md:5: AssertionError"),
        ("```python\nx = 1\n```\n\n```python\nx +\n```\n", r"page\.md:6: SyntaxError"),
        ("```python\nraise SystemExit(0)\n```\n", r"page\.md:2: SystemExit"),
        ("text\n\n```yaml\na: [\n```\n", r"page\.md:3: not YAML"),
        ("```yaml\nversion: 1\nnme: x\n```\n", r"(?s)page\.md:1: .* did you mean 'name'"),
        ("```console\n$ qaqfilter validate none.yaml\n```\n", r"page\.md:2: exit code 2"),
        ("```console\n$ qaqfilter --version\nno such line\n```\n", r"page\.md:2: the output"),
        ("```console\n$ qaqfilter --version\nerror: none\n```\n", r"page\.md:2: exit code 0"),
        ("```console\n$ make no-such-target\n```\n", r"page\.md:2: the Makefile has no target"),
        ("```console\n$ pip install 'qaqfilter[gold]'\n```\n", r"page\.md:2: .*no extra 'gold'"),
        ("```console\n$ cat a | head\n```\n", r"page\.md:2: no shell"),
        ("```console\n$ rm -r x\n```\n", r"page\.md:2: no test knows the command 'rm'"),
        ("```ruby\n1\n```\n", r"page\.md:1: no test knows what to do with 'ruby'"),
        ("<!-- file: a; nonsense -->\n```\n```\n", r"page\.md:1: .*nonsense"),
        ("<!-- copy of: LICENSE -->\n```text\nx\n```\n", r"page\.md:2: is not a copy of LICENSE"),
    ],
)
def test_a_wrong_block_fails_with_its_place(
    page: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DocsError, match=message):
        follow_page(page, "page.md", tmp_path, monkeypatch)


def test_a_recipe_that_should_be_refused_and_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = (
        "version: 1\nname: x\ninput: {use: jsonl, path: x.jsonl}\n"
        "steps: [{id: a, use: length}]\noutput: {use: jsonl, path: out}\n"
    )
    page = f"<!-- invalid -->\n```yaml\n{recipe}```\n"
    with pytest.raises(DocsError, match=r"page\.md:2: this recipe should be refused"):
        follow_page(page, "page.md", tmp_path, monkeypatch)
    data = '<!-- file: x.jsonl -->\n```text\n{"query": "q"}\n```\n'
    with pytest.raises(DocsError, match=r"page\.md:6: the recipe does not run: "):
        follow_page(f"{data}\n```yaml\n{recipe}```\n", "page.md", tmp_path / "two", monkeypatch)


def test_wrong_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# There it is\n## `a(b, c)`\n")
    text = (
        "# Here\n[a](#here) [b](other.md#there-it-is) [c](other.md#ab-c) [d](https://x.y)\n\n"
        "[e](#there)\n\n| x |\n|---|\n| [f](none.md) [g](other.md#here) |\n"
    )
    page.write_text(text)
    assert [problem.split(": ", 1)[1] for problem in broken_links(page, text)] == [
        "#there: no such heading",
        "none.md: no such file",
        "other.md#here: no such heading",
    ]


def test_outputs_agree_but_for_measurements() -> None:
    came = ["reading", "│ toy │ 4 │ 404 │ 0.0 │ 116529 │", "kept 2", "in /tmp/a/out"]
    assert outputs_agree(["│ toy │ 4 │ 404 │ 1.7 │ 99999 │", "", "in …/out"], came)
    assert not outputs_agree(["│ toy │ 4 │ 405 │ 1.7 │ 99999 │"], came)
    assert not outputs_agree(["kept 2", "reading"], came)
