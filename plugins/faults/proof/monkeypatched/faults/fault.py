"""What a mistake is, and the ways to put one in."""

import dataclasses
import functools
import importlib
import typing


@dataclasses.dataclass(frozen=True)
class At:
    """The hook where tlbench has to see the mistake first."""

    hook: str


@dataclasses.dataclass(frozen=True)
class Refused:
    """What the recorder says of a model that it must not vouch for."""

    gist: str


@dataclasses.dataclass(frozen=True)
class Fault:
    id: str
    says: str
    # The checkpoint, as FAMILY/NAME.
    fixture: str
    # The module of transformers with the class, as `models.NAME.modeling_NAME` is called there.
    model: str
    expected: At | Refused
    patch: typing.Callable

    def put(self):
        self.patch(importlib.import_module(f"transformers.models.{self.model}.modeling_{self.model}"))


def before_init(of, change):
    """`change` sees the config before a model of the class is made."""

    def patch(modeling):
        wrapped = getattr(modeling, of).__init__

        @functools.wraps(wrapped)
        def init(self, config, *args, **kwargs):
            change(config)
            wrapped(self, config, *args, **kwargs)

        getattr(modeling, of).__init__ = init

    return patch


def after_init(of, change):
    """`change` sees each module of the class once it is made."""

    def patch(modeling):
        wrapped = getattr(modeling, of).__init__

        @functools.wraps(wrapped)
        def init(self, *args, **kwargs):
            wrapped(self, *args, **kwargs)
            change(self)

        getattr(modeling, of).__init__ = init

    return patch


def after_load(of, change):
    """`change` sees each model of the class with its weights."""

    def patch(modeling):
        wrapped = getattr(modeling, of).from_pretrained

        def load(*args, **kwargs):
            model, report = wrapped(*args, **kwargs)
            change(model)
            return model, report

        getattr(modeling, of).from_pretrained = load

    return patch


def replaced(name, replacement):
    """Another function, or method as `Class.method`, which is given the one that it replaces."""

    def patch(modeling):
        *path, last = name.split(".")
        owner = functools.reduce(getattr, path, modeling)
        setattr(owner, last, _around(replacement, getattr(owner, last)))

    return patch


def _around(replacement, original):
    @functools.wraps(original)
    def call(*args, **kwargs):
        return replacement(original, *args, **kwargs)

    return call
