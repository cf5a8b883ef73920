"""Which likelihoods of a recipe are wanted token by token."""

from __future__ import annotations

from qaqfilter.recipe import Recipe, Step
from qaqfilter.selectors import WantsTokens


def wanted_by(step: Step) -> frozenset[tuple[str, str]]:
    """The (model, likelihood) pairs whose tokens the step's selector asks for."""
    selector = step.selector
    return frozenset(selector.token_needs) if isinstance(selector, WantsTokens) else frozenset()


def detailed(recipe: Recipe) -> frozenset[str]:
    """The names ``<view>.<likelihood>`` of all likelihoods that some step wants by the token.

    For the whole recipe, and so in each step that asks for one of them: a record is not scored
    again because a later step wants to know more.
    """
    return frozenset(
        f"{step.view(need[0])}.{need[1]}"
        for step in recipe.steps
        for need in step.needs
        if need in wanted_by(step) or recipe.models[need[0]].keys.detail == "tokens"
    )
