"""What every component must keep, whatever it offers: its name, its options, its `create`."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from qaqfilter.discovery import is_installed
from qaqfilter.options import Options
from qaqfilter.protocols import Component, Needs
from qaqfilter.testing.rules import rule

SECTION = "rules-for-all-hooks"


class ComponentContract:
    """Override `component`, and `options` where the component cannot do without."""

    @pytest.fixture
    def component(self) -> Component[Any]:
        """What the plugin's hook yields; override this."""
        raise NotImplementedError("override the fixture `component`: what your hook yields")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        """The component's keys in a recipe."""
        return {}

    @pytest.fixture
    def config(self, component: Component[Any], options: dict[str, Any]) -> Any:
        """The checked options, as `create` gets them."""
        return component.config.model_validate(options)

    @rule(SECTION)
    def test_it_is_a_component_with_a_name_and_a_summary(self, component: Component[Any]) -> None:
        """A hook yields `Component(name, config, create, summary)`: a name without blanks for
        recipes, and a summary of one line.
        """
        assert isinstance(component, Component), f"{component!r} is no qaqfilter.Component"
        name, summary = component.name, component.summary
        assert name and not set(name) & set(" \t\n:{}[],#"), f"the name {name!r} is hard to write"
        assert summary.strip() and "\n" not in summary, f"the summary is {summary!r}"
        assert callable(component.create), f"create is {component.create!r}"

    @rule(SECTION)
    def test_options_refuse_unknown_keys(
        self, component: Component[Any], options: dict[str, Any]
    ) -> None:
        """`config` is a subclass of `qaqfilter.Options`, which refuses unknown keys."""
        assert issubclass(component.config, Options), f"{component.config!r} is no Options"
        try:
            component.config.model_validate({**options, "no_such_key": 1})
        except ValidationError as error:
            kinds = {(item["type"], item["loc"]) for item in error.errors()}
            assert ("extra_forbidden", ("no_such_key",)) in kinds, f"refused for {kinds}"
        else:
            raise AssertionError("the key `no_such_key` was taken without a word")

    @rule(SECTION)
    def test_every_option_is_described(self, component: Component[Any]) -> None:
        """Each option has a description: editors show it, and so does the reference."""
        schema = component.config.model_json_schema()
        properties: dict[str, dict[str, Any]] = schema.get("properties", {})
        bare = [name for name, about in properties.items() if not about.get("description")]
        assert not bare, f"without a description: {', '.join(bare)}"

    @rule(SECTION)
    def test_its_needs_can_be_checked(self, component: Component[Any]) -> None:
        """`needs` is None, or `Needs(pip, modules)` with what to install and what to import."""
        needs = component.needs
        if needs is not None:
            assert isinstance(needs, Needs), f"needs is {needs!r}"
            assert needs.pip and needs.modules, f"needs says nothing: {needs!r}"
            assert not isinstance(needs.modules, str), "modules is a text; make it a tuple"
            missing = [name for name in needs.modules if not is_installed(name)]
            assert not missing, f"not installed here, so nothing can be tested: {missing}"
