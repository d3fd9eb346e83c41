"""Frozen typed configs, families of components, YAML with overrides, fingerprints.

A component is one small frozen config class that builds one object. A family root is declared with
``class Loss(Family, family="losses")``; subclassing it with ``name="clip"`` registers a component.
YAML writes a component as its name or as a mapping with a ``name``; a class outside the package is
written ``package.module:Class``. A wrong name or field is refused with the nearest right one.
What a run *is* enters its fingerprint; how it is run (fields marked ``how()``) never does.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any, ClassVar

import pydantic

from neurovis.errors import UsageError, unknown

FAMILIES: dict[str, type[Family]] = {}


def how(default: Any, **kwargs: Any) -> Any:
    """Declare a field that says how something is run (device, workers): outside the fingerprint."""
    return pydantic.Field(default, json_schema_extra={"how": True}, **kwargs)


def added(default: Any, **kwargs: Any) -> Any:
    """Declare a field that came later: at its default it stays out of the fingerprint.

    Runs made before the field existed keep their folders.
    """
    return pydantic.Field(default, json_schema_extra={"added": True}, **kwargs)


class Config(pydantic.BaseModel):
    """A frozen set of typed options; an unknown field is refused with the nearest right one."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, validate_default=True
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for key in value:
                if key not in cls.model_fields and not (key == "name" and issubclass(cls, Family)):
                    raise UsageError(unknown(f"{cls.__name__} option", key, cls.model_fields))
        return value


class Family(Config):
    """Root of a family of components, or one component of it.

    Parameters
    ----------
    family : str
        Class argument of a root: the family's name in ``neurovis list``.
    name : str
        Class argument of a component: its name in YAML.
    """

    family: ClassVar[str] = ""
    component: ClassVar[str] = ""
    members: ClassVar[dict[str, type[Family]]] = {}

    def __init_subclass__(cls, family: str | None = None, name: str | None = None, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if family is not None:
            cls.family, cls.members = family, {}
            FAMILIES[family] = cls
        elif name is not None:
            if name in cls.members and cls.members[name].__qualname__ != cls.__qualname__:
                raise UsageError(
                    f"{cls.family}: the name {name!r} is taken by {cls.members[name].__module__}; "
                    f"give {cls.__module__}.{cls.__name__} another one."
                )
            cls.component = name
            cls.members[name] = cls

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _dispatch(cls, value: Any, handler: Any) -> Any:
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, dict) and "family" in vars(cls):
            return resolve(cls, value)
        if isinstance(value, dict) and value.get("name", cls.component) == cls.component:
            value = {k: v for k, v in value.items() if k != "name"}
        return handler(value)


def components(root: type[Family]) -> dict[str, type[Family]]:
    """All components of a family by name, its package's modules imported first."""
    package = importlib.import_module(root.__module__.removesuffix(".base"))
    if hasattr(package, "__path__"):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(root.members.items()))


def resolve(root: type[Family], value: Any) -> Any:
    """Make a component from its name, a mapping with a ``name``, or itself.

    Raises
    ------
    UsageError
        If the name or one of the fields is unknown, or a value has the wrong type.
    """
    if isinstance(value, root):
        return value
    if not isinstance(value, str | dict):
        raise UsageError(f"{root.family}: expected a name or a mapping, found {value!r}.")
    options = {"name": value} if isinstance(value, str) else dict(value)
    name = options.pop("name", None)
    if name is None:
        raise UsageError(f"{root.family}: expected a mapping with a 'name', found {value!r}.")
    if ":" in str(name):
        module, _, attribute = str(name).partition(":")
        try:
            cls = getattr(importlib.import_module(module), attribute, None)
        except ImportError as error:
            raise UsageError(f"{root.family}: {name} cannot be imported ({error}).") from error
        if not (isinstance(cls, type) and issubclass(cls, root)):
            raise UsageError(f"{root.family}: {name} is no {root.__name__}; expected a subclass.")
    else:
        known = root.members if name in root.members else components(root)
        if name not in known:
            raise UsageError(unknown(root.family, name, known))
        cls = known[name]
    return build(cls, options)


def build(cls: type[Config], options: dict[str, Any]) -> Any:
    """Make a config, turning pydantic's report into one sentence."""
    try:
        return cls(**options)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        if isinstance(first.get("ctx", {}).get("error"), UsageError):
            raise UsageError(str(first["ctx"]["error"])) from None
        where = ".".join(str(part) for part in first["loc"]) or cls.__name__
        raise UsageError(
            f"{cls.__name__}.{where}: {first['msg'].lower()}, found {first.get('input')!r}."
        ) from None


def to_dict(config: Any, how_too: bool = True) -> Any:
    """Plain data of a config (names of components included), ready for YAML and JSON.

    Parameters
    ----------
    config : Config or plain data
    how_too : bool
        Keep the fields marked ``how()``; False for fingerprints.
    """
    if isinstance(config, Config):
        data = {"name": config.component} if isinstance(config, Family) else {}
        if isinstance(config, Family) and ":" not in config.component:
            inside = type(config).members.get(config.component) is type(config)
            if not inside:
                data = {"name": f"{type(config).__module__}:{type(config).__qualname__}"}
        for key, field in type(config).model_fields.items():
            value, extra = getattr(config, key), field.json_schema_extra
            marks = extra if isinstance(extra, dict) and not how_too else {}
            if not (marks.get("how") or (marks.get("added") and _as_declared(value, field))):
                data[key] = to_dict(value, how_too)
        return data
    if isinstance(config, dict):
        return {str(k): to_dict(v, how_too) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return [to_dict(v, how_too) for v in config]
    if isinstance(config, Path):
        return config.as_posix()
    # numpy arrays whole: their printed form leaves out the middle, which a fingerprint must see
    return config.tolist() if hasattr(config, "tolist") else config


def _as_declared(value: Any, field: Any) -> bool:
    """Whether a field has its default; a component's default may be written as its name."""
    if isinstance(value, Family) and isinstance(field.default, str):
        return value.component == field.default and value == type(value)()
    return value == field.default


def fingerprint(*parts: Any) -> str:
    """Twelve hex digits that name this content; fields marked ``how()`` do not enter."""
    text = json.dumps(to_dict(list(parts), how_too=False), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_yaml(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a YAML mapping and apply ``key.sub=value`` overrides (values are YAML).

    Raises
    ------
    UsageError
        If the file is missing, is not a mapping, or an override has no ``=``.
    """
    import yaml

    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the path of an experiment's YAML.")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        raise UsageError(f"{path}: not valid YAML at line {line}; correct that line.") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path}: expected a mapping of options, found {type(data).__name__}.")
    return override(data, overrides)


def override(data: dict[str, Any], overrides: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """Apply ``key.sub=value`` overrides to nested data; the input is not modified."""
    import copy

    import yaml

    data = copy.deepcopy(data)
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"override {item!r}: expected key=value, such as train.epochs=5.")
        *parents, last = key.split(".")
        place = data
        for parent in parents:
            if isinstance(place.get(parent), str):
                place[parent] = {"name": place[parent]}
            if place.get(parent) is None:
                place[parent] = {}
            place = place[parent]
            if not isinstance(place, dict):
                raise UsageError(f"override {item!r}: {parent!r} holds a value, not options.")
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(
                f"override {item!r}: expected a value in YAML after '=', found {value!r}."
            ) from None
    return data


def write_yaml(path: str | Path, config: Any) -> None:
    """Write a config as YAML."""
    import yaml

    text = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, width=100)
    Path(path).write_text(text, encoding="utf-8")
