"""Settings in plain words: the rows of a help page, and what is wrong with a value."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

#: What a value of a type was expected to be, by the beginning of pydantic's name of the error.
_EXPECTED = {
    "int_": "a whole number",
    "float_": "a number",
    "bool_": "yes or no",
    "string_": "a text",
    "tuple_": "a list such as [1, 2]",
    "list_": "a list such as [1, 2]",
    "none_required": "none",
}
#: Limits: pydantic's name of the error, its name of the limit, and the words.
_LIMITS = {
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be greater than"),
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be less than"),
    "multiple_of": ("multiple_of", "must be a multiple of"),
}


def explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """Say in plain words what is wrong with settings.

    Args:
        error: pydantic's error.
        kind: The class that was validated.

    Returns:
        One line per problem.
    """
    names = [name for name, _ in _leaves(kind)]
    groups = sorted({name.rpartition(".")[0] for name in names} - {""})
    lines: dict[str, list[str]] = {}  # the beginning of a line → what it may go on with
    for item in error.errors():
        place, choice = _place(item["loc"], kind)
        if item["type"] == "extra_forbidden" and place in names:
            group = place.rpartition(".")[0]
            lines[f"there is no setting '{place}' with {group}.name = {choice}"] = []
        elif item["type"] == "extra_forbidden":
            lines[f"there is no setting '{place}'{_near(place, [*names, *groups])}"] = []
        elif item["type"] == "union_tag_invalid":
            tag, known = str(item["ctx"]["tag"]), item["ctx"]["expected_tags"].replace("'", "")
            lines[f"{place}: there is no '{tag}'{_choose(tag, known.split(', '))}"] = []
        else:
            start = f"{place} = {item.get('input')!r}: " if place else ""
            words = _words(item)
            if item["type"].startswith(("model_", "dict_")):
                inside = next((name for name in names if name.startswith(f"{place}.")), place)
                words = f"this is a group of settings, such as {inside}"
            # Of a setting that may be of several types there is an error for each.
            if words not in lines.setdefault(start, []):
                lines[start].append(words)
    return "\n".join(start + _joined(words) for start, words in lines.items())


def _words(item: Any) -> str:
    kind, context = str(item["type"]), item.get("ctx", {})
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"{words} {context[name]:.12g}"
    if kind == "literal_error":
        choices = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        given = str(item.get("input"))
        return f"expected {choices[0]}" if len(choices) == 1 else _one_of(given, choices)
    if kind in ("too_short", "too_long"):
        least = kind == "too_short"
        number = context["min_length" if least else "max_length"]
        values = "value" if number == 1 else "values"
        return f"expected {'at least' if least else 'at most'} {number} {values}"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "finite_number":
        return "must be finite"
    if kind == "missing":
        return "must be given"
    if kind == "int_from_float":
        return "expected a whole number"
    for start, expected in _EXPECTED.items():
        if kind.startswith(start):
            return f"expected {expected}"
    return str(item["msg"]).removeprefix("Value error, ")


def _joined(words: Sequence[str]) -> str:
    """Join what a value may be: ``expected a whole number, or auto``."""
    if len(words) < 2:
        return "".join(words)
    start = "expected "
    return words[0] + "".join(f", or {other.removeprefix(start)}" for other in words[1:])


def _one_of(given: str, choices: Sequence[str]) -> str:
    return f"expected one of: {', '.join(choices)}{_near(given, choices)}"


def _choose(given: str, choices: Sequence[str]) -> str:
    return f"{_near(given, choices) or ';'} choose one of: {', '.join(choices)}"


def _near(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, list(dict.fromkeys(names)), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _place(loc: tuple[int | str, ...], kind: type[BaseModel]) -> tuple[str, str]:
    """Return the dotted name of a setting, and the choice with parameters it is within.

    pydantic puts the name of the choice (loss.jaccard.weight) and the type that was tried
    (training.workers.int) into the path: neither is part of a setting's name.
    """
    names: list[str] = []
    choice, model = "", kind
    rest = list(loc)
    while rest:
        part = rest.pop(0)
        names.append(str(part))
        field = model.model_fields.get(str(part))
        if field is None:
            break
        models = _models(field)
        if not models:
            names += [str(p) for p in rest if isinstance(p, int)]
            break
        model = models[0]
        if field.discriminator is not None and rest:
            choice = str(rest.pop(0))
            model = next((m for m in models if m.model_fields["name"].default == choice), model)
    return ".".join(names), choice


def _models(field: FieldInfo) -> list[type[BaseModel]]:
    return [
        t
        for t in (field.annotation, *get_args(field.annotation))
        if isinstance(t, type) and issubclass(t, BaseModel)
    ]


def _leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the dotted name of each setting with its default and description."""
    for name, field in kind.model_fields.items():
        models = _models(field)
        default = field.get_default(call_default_factory=True)
        if not models:
            yield f"{prefix}{name}", (_plain(default), field.description or "")
        elif len(models) == 1:
            yield from _leaves(models[0], f"{prefix}{name}.")
        else:
            choices = ", ".join(str(m.model_fields["name"].default) for m in models)
            chosen = getattr(default, "name", default)
            text = f"{field.description or ''} One of: {choices}."
            yield f"{prefix}{name}", (_plain(chosen), text)
            yield from _of_choices(models, f"{prefix}{name}.")


def _of_choices(
    models: Sequence[type[BaseModel]], prefix: str
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the parameters of choices: whose they are, and each one's own default and meaning."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for model in models:
        for leaf, said in _leaves(model, prefix):
            if leaf != f"{prefix}name":
                found.setdefault(leaf, {})[str(model.model_fields["name"].default)] = said
    for leaf, by_choice in found.items():
        defaults = {choice: default for choice, (default, _) in by_choice.items()}
        texts = {choice: text for choice, (_, text) in by_choice.items()}
        of_some = len(by_choice) < len(models)
        whose = f" Of {', '.join(by_choice)}." if of_some and len(set(texts.values())) == 1 else ""
        yield leaf, (_by_choice(defaults, "; "), _by_choice(texts, " ") + whose)


def _by_choice(texts: Mapping[str, str], between: str) -> str:
    """Write a text once where all choices share it, else name the choices."""
    shared: dict[str, list[str]] = {}
    for choice, text in texts.items():
        shared.setdefault(text, []).append(choice)
    if len(shared) == 1:
        return next(iter(shared))
    return between.join(f"{', '.join(choices)}: {text}" for text, choices in shared.items())


def settings_help(kind: type[BaseModel]) -> list[tuple[str, str, str]]:
    """List all settings of a class for a help page.

    Args:
        kind: The settings class.

    Returns:
        Rows of (dotted name, default, description); where the choices of a group have defaults
        of their own for a setting, each is named.
    """
    return [(name, default, text) for name, (default, text) in _leaves(kind)]


def _plain(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping | tuple | list):
        return ", ".join(str(v) for v in value) or "none"
    return str(value)
