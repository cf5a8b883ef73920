"""Prompts: segments exact for all four likelihoods, and templates that tamper are told apart."""

from __future__ import annotations

import datetime
import json
import re
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from qaqfilter import (
    LIKELIHOODS,
    ChatTemplate,
    ModelFiles,
    Origin,
    PromptError,
    Record,
    Request,
    Segment,
    Turn,
)
from qaqfilter.encoding import Encoder
from qaqfilter.prompts import cut
from qaqfilter.sandbox import Template
from qaqfilter_prompts.chat import REVERSE, Chat, ChatOptions
from qaqfilter_prompts.jinja import Jinja, JinjaOptions
from qaqfilter_prompts.plain import Plain, PlainOptions

CHATML = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
LLAMA3 = """\
{% set loop_messages = messages %}{% for message in loop_messages %}\
{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'\
+ message['content'] | trim + '<|eot_id|>' %}\
{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}\
{% endfor %}{% if add_generation_prompt %}\
{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""
GEMMA = """\
{{ bos_token }}
{%- if messages[0].role == 'system' -%}
    {%- set first = messages[0].content + '\\n\\n' -%}
    {%- set rest = messages[1:] -%}
{%- else -%}
    {%- set first = '' -%}
    {%- set rest = messages -%}
{%- endif -%}
{%- for message in rest -%}
    {{ '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n'
       + (first if loop.first else '') }}
    {{- message.content }}
    {{- '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model\\n' }}
{%- endif -%}
"""
NO_SYSTEM = """\
{% for message in messages %}{% if message.role == 'system' %}\
{{ raise_exception('System role not supported') }}{% endif %}\
[{{ message.role }}] {{ message.content }}
{% endfor %}"""

RECORD = Record("1", " Sort <a> & {{ b }}\n", "def s(): ...  ", b"", Origin("x", 0))
WITH_SYSTEM = Record("1", "Q", "A", b"", Origin("x", 0), system="Be <brief>.")
TALK = (Turn("user", " one\n"), Turn("assistant", "two<|im_end|>the"), Turn("tool", "{{ three }}"))
AFTER_TALK = replace(RECORD, history=TALK)


def text(value: str) -> Segment:
    return Segment(value)


def markup(value: str) -> Segment:
    return Segment(value, markup=True)


def backend(source: str | None = CHATML, bos: str = "<bos>") -> SimpleNamespace:
    template = None if source is None else ChatTemplate(source, bos, "<eos>", "template of m")
    return SimpleNamespace(chat_template=template)


def chat(source: str | None = CHATML, resources: object = None, **options: object) -> Chat:
    return Chat(ChatOptions(**options), backend(source), resources)


def jinja(**options: str) -> Jinja:
    return Jinja(JinjaOptions(**options), backend(), None)


# --- plain


def test_plain_segments() -> None:
    plain = Plain(PlainOptions(separator="\n###\n"), backend(), None)
    q, a, sep = text(RECORD.query), text(RECORD.answer), markup("\n###\n")
    assert plain.request("query", RECORD) == Request((), q)
    assert plain.request("answer", RECORD) == Request((), a)
    assert plain.request("answer_given_query", RECORD) == Request((q, sep), a)
    assert plain.request("query_given_answer", RECORD) == Request((a, sep), q)


def test_plain_without_separator_has_no_empty_segment() -> None:
    plain = Plain(PlainOptions(separator=""), backend(), None)
    assert plain.request("answer_given_query", WITH_SYSTEM) == Request((text("Q"),), text("A"))


@pytest.mark.parametrize("separator", ["\n###\n", ""])
def test_plain_puts_earlier_turns_in_front_of_all_four(separator: str) -> None:
    plain = Plain(PlainOptions(separator=separator), backend(), None)
    before: list[Segment] = []
    for turn in TALK:
        before += [text(turn.text), *([markup(separator)] if separator else [])]
    for likelihood in LIKELIHOODS:
        alone = plain.request(likelihood, RECORD)
        after = plain.request(likelihood, AFTER_TALK)
        assert after == Request((*before, *alone.context), alone.target)


def test_plain_unknown_likelihood() -> None:
    with pytest.raises(PromptError, match="'joint'"):
        Plain(PlainOptions(), backend(), None).request("joint", RECORD)


# --- chat


def test_chatml_segments_without_system() -> None:
    q, a = text(RECORD.query), text(RECORD.answer)
    user = markup("<|im_start|>user\n")
    reply = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    turn = markup(f"<|im_end|>\n{reply}")
    before, _ = REVERSE.split("{answer}")
    made = chat()
    assert made.request("query", RECORD) == Request((user,), q)
    assert made.request("answer_given_query", RECORD) == Request((user, q, turn), a)
    assert made.request("answer", RECORD) == Request(
        (markup(f"<|im_start|>user\n<|im_end|>\n{reply}"),), a
    )
    assert made.request("query_given_answer", RECORD) == Request(
        (markup(f"<|im_start|>user\n{before}"), a, turn), q
    )


def test_records_system_is_data_and_beats_the_recipes() -> None:
    made = chat(system="Recipe's.")
    assert made.request("query", RECORD).context == (
        markup("<|im_start|>system\nRecipe's.<|im_end|>\n<|im_start|>user\n"),
    )
    assert made.request("query", WITH_SYSTEM).context == (
        markup("<|im_start|>system\n"),
        text("Be <brief>."),
        markup("<|im_end|>\n<|im_start|>user\n"),
    )
    assert made.request("answer", WITH_SYSTEM).context[1] == text("Be <brief>.")


def test_earlier_turns_are_turns_in_front_of_all_four() -> None:
    made = chat()
    earlier: list[Segment] = []
    for turn in TALK:
        opened = markup(f"{'<|im_end|>' + chr(10) if earlier else ''}<|im_start|>{turn.role}\n")
        earlier += [opened, text(turn.text)]
    for likelihood in LIKELIHOODS:
        alone, after = made.request(likelihood, RECORD), made.request(likelihood, AFTER_TALK)
        first, *rest = alone.context
        assert after.context == (*earlier, markup("<|im_end|>\n" + first.text), *rest)
        assert after.target == alone.target


def test_earlier_turns_follow_the_system_text() -> None:
    context = chat().request("query", replace(AFTER_TALK, system="S")).context
    assert [s.text for s in context if not s.markup] == ["S", *(turn.text for turn in TALK)]


def test_trim_strips_earlier_turns_too() -> None:
    with pytest.raises(PromptError, match=r"the earlier turn 1 once and .* trims"):
        chat(LLAMA3).request("answer", replace(WITH_SYSTEM, system=None, history=TALK[:1]))
    context = chat(LLAMA3, trim=True).request("query", AFTER_TALK).context
    assert [s.text for s in context if not s.markup] == [turn.text.strip() for turn in TALK]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ messages[-1].content }}", "the earlier turn 1 once and untouched, but .* drops it"),
        (
            "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
            "the earlier turn 1 .* uppercases it",
        ),
        (
            "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('No tools!') }}"
            "{% endif %}{{ m.content }}{% endfor %}",
            "template of m: No tools!",
        ),
        (
            "{% for m in messages %}{{ m.content | length if loop.first }}{{ m.content }}"
            "{% endfor %}",
            "own text depends on what the earlier turn 1 or earlier turn 2 or earlier turn 3",
        ),
    ],
)
def test_templates_that_cannot_do_a_conversation(source: str, message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        chat(source).request("answer_given_query", AFTER_TALK)
    shown = "(in a conversation whose query follows the turns user, assistant, tool)"
    assert str(caught.value).endswith(shown)


def test_ten_thousand_turns_take_seconds() -> None:
    history = (Turn("user", "a"), Turn("assistant", "b")) * 5000
    started = time.perf_counter()
    request = chat().request("answer_given_query", replace(RECORD, history=history))
    assert time.perf_counter() - started < 20
    data = [segment.text for segment in request.context if not segment.markup]
    assert data == ["a", "b"] * 5000 + [RECORD.query]


@pytest.mark.parametrize("likelihood", ["query", "answer_given_query", "query_given_answer"])
def test_a_template_that_trims_is_refused_and_trim_mends_it(likelihood: str) -> None:
    with pytest.raises(PromptError, match="trims the white space around it; `trim: true`"):
        chat(LLAMA3).request(likelihood, RECORD)
    request = chat(LLAMA3, trim=True).request(likelihood, RECORD)
    texts = [segment.text for segment in (*request.context, request.target) if not segment.markup]
    assert set(texts) <= {RECORD.query.strip(), RECORD.answer.strip()}
    assert request.context[0].text.startswith("<bos><|start_header_id|>user<|end_header_id|>\n\n")


def test_trim_strips_alike_in_all_likelihoods() -> None:
    made = chat(LLAMA3, trim=True)
    requests = {name: made.request(name, RECORD) for name in LIKELIHOODS}
    assert requests["query"].target == requests["query_given_answer"].target
    assert (
        requests["answer"].target == requests["answer_given_query"].target == text("def s(): ...")
    )


def test_gemma_folds_the_system_text_into_the_user_turn() -> None:
    assert chat(GEMMA).request("answer_given_query", WITH_SYSTEM) == Request(
        (
            markup("<bos><start_of_turn>user\n"),
            text("Be <brief>."),
            markup("\n\n"),
            text("Q"),
            markup("<end_of_turn>\n<start_of_turn>model\n"),
        ),
        text("A"),
    )


def test_a_template_that_raises_for_a_system_text() -> None:
    made = chat(NO_SYSTEM)
    assert made.request("query", RECORD).context == (markup("[user] "),)
    with pytest.raises(PromptError, match="template of m: System role not supported"):
        made.request("query", WITH_SYSTEM)


def test_a_template_that_leaves_out_the_recipes_system_text() -> None:
    with pytest.raises(PromptError, match="leaves out the system text"):
        chat("{{ messages[-1].content }}", system="Be kind.").request("query", RECORD)


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("x | trim", "trims the white space"),
        ("x.strip()", "trims the white space"),
        ("x.lstrip('\\n')", "trims the white space"),
        ("x.rstrip()", "trims the white space"),
        ("x | tojson", "escapes it as JSON"),
        ("x | e", "escapes it for HTML"),
        ("x | trim | e", "escapes it for HTML"),
        ("x | lower", "lowercases it"),
        ("x | upper", "uppercases it"),
        ("x + x", "repeats it \\(2 times\\)"),
        ("x ~ (x | lower)", "repeats it in another form"),
        ("'nothing'", "drops it"),
        ("x[:2000]", "cuts it short"),
        ("x | truncate(500)", "cuts it short"),
        ("x | replace('\\n\\n', '\\n')", "changes it"),
        ("x | wordwrap(60)", "changes it"),
        ("x | indent(4)", "changes it"),
        ("x.split() | join(' ')", "changes it"),
        ("x | urlencode", "changes it"),
        ("x ~ (x | length)", "depends on what the query holds"),
        ("x if x | length < 900 else 'Long: ' ~ x", "depends on what the query holds"),
    ],
)
def test_every_way_to_change_data_is_noticed(expression: str, what: str) -> None:
    source = "{% set x = messages[0].content %}<user>{{ " + expression + " }}<end>"
    with pytest.raises(PromptError, match=what):
        chat(source).request("answer_given_query", RECORD)


def test_what_a_template_does_after_the_query_does_not_matter() -> None:
    source = "<{{ messages[0].content }}>{{ messages[0].content | length }}"
    assert chat(source).request("query", RECORD) == Request((markup("<"),), text(RECORD.query))


def test_no_template_names_both_options() -> None:
    with pytest.raises(PromptError, match=r"prompt\.template`.*prompt\.template_from"):
        chat(None)


def test_a_template_file_of_the_recipe(tmp_path) -> None:
    (tmp_path / "t.jinja").write_text("{{ bos_token }}Q: {{ messages[-1].content }}", "utf-8")
    options = ChatOptions.model_validate({"template": "t.jinja"}, context={"folder": str(tmp_path)})
    made = Chat(options, backend("unused"), None)
    assert made.request("query", RECORD).context == (markup("<bos>Q: "),)
    (tmp_path / "t.jinja").unlink()
    with pytest.raises(PromptError, match=r"cannot read the chat template .*t\.jinja"):
        Chat(options, backend(None), None)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"tokenizer_config.json": {"chat_template": "1", "bos_token": "<s>"}}, ("1", "<s>")),
        (
            {
                "tokenizer_config.json": {
                    "chat_template": [
                        {"name": "tool_use", "template": "2"},
                        {"name": "default", "template": "3"},
                    ],
                    "bos_token": {"content": "<b>", "special": True},
                }
            },
            ("3", "<b>"),
        ),
        ({"tokenizer_config.json": {"chat_template": "1"}, "chat_template.jinja": "4"}, ("4", "")),
    ],
)
def test_borrowing_from_a_folder(tmp_path, files, expected) -> None:
    from qaqfilter_prompts.borrowing import template_of

    for name, content in files.items():
        written = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / name).write_text(written, encoding="utf-8")
    found = template_of("hf:a/b", ModelFiles(tmp_path, "safetensors", ""))
    assert (found.source, found.bos_token) == expected


def test_borrowing_goes_through_the_runs_resources(tmp_path) -> None:
    config = {"chat_template": CHATML, "bos_token": "<s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    asked = []

    def model_files(location: str) -> ModelFiles:
        asked.append(location)
        return ModelFiles(tmp_path, "safetensors", "")

    made = chat(None, SimpleNamespace(model_files=model_files), template_from="hf:a/b")
    assert asked == ["hf:a/b"]
    assert made.request("query", RECORD).context == (markup("<|im_start|>user\n"),)
    (tmp_path / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(PromptError, match=r"hf:a/b.*has no chat template"):
        chat(None, SimpleNamespace(model_files=model_files), template_from="hf:a/b")


def test_borrowing_from_gguf(tmp_path) -> None:
    gguf = pytest.importorskip("gguf")
    from qaqfilter_prompts.borrowing import template_of

    def write(name: str, template: str | None) -> ModelFiles:
        writer = gguf.GGUFWriter(tmp_path / name, "llama")
        writer.add_token_list(["<unk>", "<s>", "</s>", "é"])
        writer.add_bos_token_id(1)
        if template is not None:
            writer.add_chat_template(template)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return ModelFiles(tmp_path / name, "gguf", "")

    found = template_of("m.gguf", write("m.gguf", "{{ 'ö' }}"))
    assert (found.source, found.bos_token, found.eos_token) == ("{{ 'ö' }}", "<s>", "")
    with pytest.raises(PromptError, match=r"no\.gguf has no chat template"):
        template_of("no.gguf", write("no.gguf", None))


@pytest.mark.parametrize(
    "options",
    [
        {"template": "a.jinja", "template_from": "hf:a/b"},
        {"reverse": "no placeholder"},
        {"reverse": "{answer} {answer}"},
        {"variables": {"messages": []}},
        {"sytem": "misspelt"},
    ],
)
def test_chat_options_refused(options) -> None:
    with pytest.raises(ValidationError):
        ChatOptions(**options)


def test_variables_reach_the_template() -> None:
    source = "{{ mood }}{{ enable_thinking }}{{ tools is none }}{{ messages[0].content }}"
    made = chat(source, variables={"mood": "calm", "enable_thinking": True})
    assert made.request("query", RECORD).context == (markup("calmTrueTrue"),)


def test_each_shape_is_rendered_once(monkeypatch) -> None:
    renders = []
    render = Template.render
    monkeypatch.setattr(
        Template, "render", lambda self, variables: renders.append(1) or render(self, variables)
    )
    made = chat()
    for likelihood in LIKELIHOODS:
        made.request(likelihood, RECORD)
        made.request(likelihood, WITH_SYSTEM)
    once = len(renders)
    for _ in range(50):
        for likelihood in LIKELIHOODS:
            made.request(likelihood, RECORD)
            made.request(likelihood, WITH_SYSTEM)
    assert len(renders) == once


# --- the sandbox


def test_what_chat_templates_expect_of_jinja() -> None:
    source = """\
{% for n in range(9) %}
    {% if n == 2 %}{% break %}{% endif %}
    {% generation %}{{ n }}{% endgeneration %}
{% endfor %}
{{ unknown }}{{ {'a': '<é>'} | tojson }}{{ strftime_now('%d %b %Y') }}"""
    date = datetime.date(2024, 7, 26)
    assert Template(source, "t", date).render({}) == '01{"a": "<é>"}26 Jul 2024'


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a\n{% if %}", "t, line 2: "),
        ("{{ raise_exception('no, thanks') }}", "t: no, thanks"),
        ("{{ unknown.attribute }}", "t: 'unknown' is undefined"),
        ("{{ 1 / 0 }}", "t: ZeroDivisionError"),
        ("{{ messages[0].content + 1 }}", "t: TypeError"),
        ("{{ ''.__class__.__mro__ }}", "t: access to attribute '__class__'"),
        ("{{ messages.append(1) }}", "t: access to attribute 'append'"),
        ("{% include 'x' %}", "t: TypeError: no loader"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "t: the template calls itself"),
    ],
)
def test_template_errors_name_their_origin(source: str, message: str) -> None:
    with pytest.raises(PromptError) as caught:
        Template(source, "t").render({"messages": [{"content": "x"}]})
    assert str(caught.value).startswith(message)


def test_slots_that_touch() -> None:
    shape = cut(lambda s: s["a"] + s["b"] + s["c"], "t", given=("b", "a"), target="c")
    values = {"a": "1", "b": "2", "c": "3"}
    assert shape.request(values) == Request((text("1"), text("2")), text("3"))


# --- jinja


def test_jinja_segments() -> None:
    made = jinja(
        query="Q: {{ query }}\nA: {{ answer }}",
        answer_given_query="{% if system %}[{{ system }}] {% endif %}"
        "Q: {{ query }}\nA: {{ answer }}.",
    )
    assert made.request("query", WITH_SYSTEM) == Request((markup("Q: "),), text("Q"))
    assert made.request("answer_given_query", RECORD) == Request(
        (markup("Q: "), text(RECORD.query), markup("\nA: ")), text(RECORD.answer)
    )
    assert made.request("answer_given_query", WITH_SYSTEM) == Request(
        (markup("["), text("Be <brief>."), markup("] Q: "), text("Q"), markup("\nA: ")), text("A")
    )
    with pytest.raises(PromptError, match=r"add `answer: \.\.\.`"):
        made.request("answer", RECORD)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": "{{ answer }}{{ query }}"}, "answer must not stand before the query"),
        ({"query": "{{ query }}{{ query }}"}, "`query`: .*repeats it"),
        ({"query": "{{ question }}"}, "unknown name 'question'; there are: query, answer, system"),
        ({"query": "{{ query | trim }}"}, "trims the white space around it$"),
        ({"query": "{{ system | upper }}{{ query }}"}, "the system .* uppercases it"),
        ({"answer_given_query": "{{ answer }}"}, "the query .* drops it"),
        ({"answer_given_query": "{{ answer }} {{ query }}"}, "the query .* drops it"),
        ({"query_given_answer": "{{ query }"}, "`query_given_answer`, line 1"),
    ],
)
def test_jinja_templates_are_checked_at_creation(options, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        jinja(**options)


HISTORY = "{% for turn in history %}<{{ turn.role }}>{{ turn.content }}{% endfor %}"


def test_jinja_history_is_data() -> None:
    made = jinja(
        query=HISTORY + "<q>{{ query }}", query_given_answer=HISTORY + "{{ answer }}{{ query }}"
    )
    assert made.request("query", RECORD) == Request((markup("<q>"),), text(RECORD.query))
    earlier = [piece for turn in TALK for piece in (markup(f"<{turn.role}>"), text(turn.text))]
    assert made.request("query", AFTER_TALK).context == (*earlier, markup("<q>"))
    assert made.request("query_given_answer", AFTER_TALK).context == (
        *earlier,
        text(RECORD.answer),
    )


def test_jinja_may_take_some_of_the_history_or_none() -> None:
    made = jinja(query="{{ history[-1].content if history }}|{{ query }}", answer="{{ answer }}")
    assert made.request("query", AFTER_TALK).context == (text("{{ three }}"), markup("|"))
    assert made.request("answer", AFTER_TALK).context == ()


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ query }}" + HISTORY + "{{ answer }}", "history must stand before the query"),
        (HISTORY + HISTORY + "{{ query }}{{ answer }}", r"earlier turn 1 .* repeats it \(2 times"),
        ("{{ history | tojson }}{{ query }}{{ answer }}", "earlier turn 1 .* escapes it as JSON"),
    ],
)
def test_jinja_history_is_checked_at_creation(template: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        jinja(answer_given_query=template)


def test_jinja_needs_a_template() -> None:
    with pytest.raises(ValidationError, match="at least one template"):
        JinjaOptions()


# --- against transformers' own rendering and a real tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    specials = ["<bos>", "<|im_start|>", "<|im_end|>", "<end_of_turn>", "<|eot_id|>"]
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: n for n, piece in enumerate([*letters, "Ġt", "he"])}
    model = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [("Ġ", "t"), ("h", "e")]))
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    model.add_special_tokens(specials)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=model, bos_token="<bos>")


MESSAGES = {
    "query": lambda r: [{"role": "user", "content": r.query}],
    "answer_given_query": lambda r: [{"role": "user", "content": r.query}],
    "answer": lambda r: [{"role": "user", "content": ""}],
    "query_given_answer": lambda r: [
        {"role": "user", "content": REVERSE.replace("{answer}", r.answer)}
    ],
}


RECORDS = {
    "bare": RECORD,
    "system": replace(RECORD, system="Be <brief>."),
    "talk": AFTER_TALK,
    "both": replace(AFTER_TALK, system="Be <brief>."),
}


def token_ids(tokenizer, segments) -> list[int]:
    """The segments as the core joins them: each tokenised on its own, special tokens in markup."""

    class OfTheTokenizer:
        start_token, adds_start = 0, False

        def encode(self, text: str, *, markup: bool) -> list[int]:
            return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not markup)

    request = Request(tuple(segments), text("target"))
    encode = Encoder(OfTheTokenizer())
    encode.learn([request])
    encoded = encode(request)
    return list(encoded.ids[: encoded.start])


def independent_ids(tokenizer, rendered: str, record: Record) -> list[int]:
    """A rendering cut where the record's texts stand in it, by a search for the texts alone."""
    data = [record.query, record.answer, record.system, *(turn.text for turn in record.history)]
    known = "|".join(re.escape(found) for found in data if found)
    ids: list[int] = []
    for number, piece in enumerate(re.split(f"({known})", rendered)):
        ids += tokenizer.encode(
            piece, add_special_tokens=False, split_special_tokens=number % 2 == 1
        )
    return ids


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
@pytest.mark.parametrize("source", [CHATML, GEMMA], ids=["chatml", "gemma"])
def test_same_text_as_transformers(tokenizer, source, record, likelihood) -> None:
    system = [{"role": "system", "content": record.system}] if record.system else []
    history = [{"role": turn.role, "content": turn.text} for turn in record.history]
    expected = tokenizer.apply_chat_template(
        [*system, *history, *MESSAGES[likelihood](record)],
        chat_template=source,
        tokenize=False,
        add_generation_prompt=likelihood != "query",
        enable_thinking=False,
    )
    request = chat(source).request(likelihood, record)
    context = "".join(segment.text for segment in request.context)
    assert token_ids(tokenizer, request.context) == independent_ids(tokenizer, context, record)
    if likelihood == "query":
        assert expected.startswith(context + request.target.text)
    else:
        assert expected == context


def test_special_tokens_come_from_markup_alone(tokenizer) -> None:
    def ids(segment: Segment) -> list[int]:
        return tokenizer.encode(
            segment.text, add_special_tokens=False, split_special_tokens=not segment.markup
        )

    record = Record("1", "stop<|im_end|>the", "<|im_start|>A", b"", Origin("x", 0))
    request = chat().request("answer_given_query", record)
    sequence = [n for segment in (*request.context, request.target) for n in ids(segment)]
    special = [tokenizer.decode([n]) for n in sequence if n >= len(tokenizer) - 5]
    assert special == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]
    whole = "<|im_start|>user\nstop<|im_end|>the<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(sequence).startswith(whole)
