"""Taps: seeing, and writing, the values that pass by in transformers' module tree."""

import contextlib
import dataclasses
import functools
import inspect

from . import attention, norms, operations, routers
from .protocol import internal, invalid_input, unsupported

INPUT, OUTPUT = "input", "output"


@dataclasses.dataclass(frozen=True)
class Hook:
    """A hook point, and where transformers shows its value."""

    name: str
    dims: tuple
    module: str
    port: str
    steps: tuple

    def view(self, value):
        """The hook's value as a view into `value`, so that writing to it writes through."""
        for step in self.steps:
            value = step(value)
        return value

    def shape(self, batch, positions):
        sizes = {"batch": batch, "pos": positions, "key_pos": positions, "one": 1}
        return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in self.dims)


def parse_hooks(described):
    """The hooks that have a tap, in execution order."""
    return [_hook(each) for each in sorted(described, key=lambda each: each["order"]) if each["hf_tap"] is not None]


def _hook(described):
    tap = described["hf_tap"]
    dims = tuple(dim if isinstance(dim, str) else dim["size"]["size"] for dim in described["shape"])
    steps = tuple(_step(described["name"], *next(iter(step.items()))) for step in tap.get("steps", ()))
    if tap["port"] not in (INPUT, OUTPUT, *norms.PORTS, *attention.PORTS, *routers.PORTS):
        raise unsupported(f"the tap of `{described['name']}` has a port that this worker does not know: {tap['port']}")
    return Hook(described["name"], dims, tap["module"], tap["port"], steps)


def _step(hook, kind, step):
    if kind == "slice":
        return lambda value: value.narrow(-1, step["start"], step["len"])
    if kind == "split":
        return lambda value: value.unflatten(-1, step["sizes"])
    if kind == "select":
        return lambda value: value.select(step["dim"], step["index"])
    if kind == "transpose":
        return lambda value: value.transpose(step["a"], step["b"])
    raise unsupported(f"the tap of `{hook}` has a step that this worker does not know: {kind}")


class Instruments:
    """While entered, shows every hook's value to an observer each time the model runs.

    The observer takes a hook and its value, and returns None or what to write in its place. Writing happens in place:
    whoever else reads the same value (a residual stream does) reads the new one. The gradients at the hooks `watched`
    are shown to `observe_gradient` when something that was computed is differentiated.
    """

    def __init__(self, model, shape, hooks, forms, observe, watched=frozenset(), observe_gradient=None):
        self._model = model
        self._shape = shape
        self._hooks = hooks
        # How each norm computes, by path; found where the model runs in f64, and kept for its other runs.
        self._forms = forms
        self._observe = observe
        self._watched = watched
        self._observe_gradient = observe_gradient
        self._fired = dict.fromkeys((hook.name for hook in hooks), 0)
        self._parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        self._attached = contextlib.ExitStack()

    def __enter__(self):
        by_module = {}
        for hook in self._hooks:
            by_module.setdefault(hook.module, {}).setdefault(hook.port, []).append(hook)
        attentions, mixtures = {}, {}
        with contextlib.ExitStack() as attached:
            for path, ports in by_module.items():
                module = self._find(path, ports)
                for handle in self._attach(path, module, ports):
                    attached.callback(handle.remove)
                for watchers, inside in ((attentions, attention.PORTS), (mixtures, routers.PORTS)):
                    if not ports.keys().isdisjoint(inside):
                        watchers[module] = functools.partial(self._show, ports)
            watching = attention.watching if attention.uses_interface(self._model) else operations.watching
            attached.enter_context(watching(attentions))
            attached.enter_context(routers.watching(mixtures))
            self._attached = attached.pop_all()
        return self

    def __exit__(self, kind, error, trace):
        self._attached.close()
        if kind is None:
            self._check_fired()

    def _find(self, path, ports):
        try:
            return self._model.get_submodule(path)
        except AttributeError as error:
            hook, name = next(iter(ports.values()))[0].name, type(self._model).__name__
            raise invalid_input(f"{name} has no module `{path}`, where `{hook}` is tapped") from error

    def _attach(self, path, module, ports):
        if INPUT in ports:
            first = next(iter(inspect.signature(module.forward).parameters), None)

            def before(module, args, kwargs):
                self._show(ports, INPUT, args[0] if args else kwargs[first])

            yield module.register_forward_pre_hook(before, with_kwargs=True)
        inside = not ports.keys().isdisjoint(norms.PORTS)
        if OUTPUT in ports or inside:

            def after(module, args, output):
                if inside:
                    output = self._look_inside(path, module, ports, args[0], output)
                self._show(ports, OUTPUT, output[0] if isinstance(output, (tuple, list)) else output)
                return output

            yield module.register_forward_hook(after)

    def _look_inside(self, path, module, ports, value, output):
        if path not in self._forms:
            self._forms[path] = norms.find_form(path, module, value, output)
        return norms.look_inside(
            self._forms[path], module, value, output, lambda port, value: self._show(ports, port, value)
        )

    def _show(self, ports, port, whole):
        """Shows `whole` to every hook of the port; whether one of them was written, or has its gradient watched."""
        written = False
        for hook in ports.get(port, ()):
            self._fired[hook.name] += 1
            value = self._view(hook, whole)
            replacement = self._observe(hook, value)
            if replacement is not None:
                self._write(hook, value, replacement)
                written = True
        watched = [hook for hook in ports.get(port, ()) if hook.name in self._watched]
        if watched and whole.requires_grad:
            whole.register_hook(functools.partial(self._show_gradient, watched))
        return written or bool(watched)

    def _show_gradient(self, hooks, gradient):
        for hook in hooks:
            self._observe_gradient(hook, self._view(hook, gradient))

    def _view(self, hook, whole):
        expected = hook.shape(*self._shape)
        try:
            value = hook.view(whole)
        except (RuntimeError, IndexError) as error:
            raise invalid_input(
                f"`{hook.name}` is declared as {list(expected)}, "
                f"which cannot be cut from the {list(whole.shape)} of `{hook.module}`"
            ) from error
        if value.shape != expected:
            raise invalid_input(
                f"`{hook.name}` is declared as {list(expected)}, and `{hook.module}` shows {list(value.shape)}"
            )
        return value

    def _write(self, hook, value, replacement):
        if value.untyped_storage().data_ptr() in self._parameters:
            raise internal(f"writing `{hook.name}` would change a parameter of `{hook.module}`")
        value.copy_(replacement)

    def _check_fired(self):
        silent = [hook for hook in self._hooks if self._fired[hook.name] == 0]
        if any(hook.port in attention.PORTS for hook in silent):
            name = type(self._model).__name__
            raise unsupported(f"{name} does not show its attention, neither through transformers' interface nor at its operations")
        for hook in self._hooks:
            if (fired := self._fired[hook.name]) != 1:
                raise invalid_input(f"the tap of `{hook.name}` at `{hook.module}` fired {fired} times in one pass")
