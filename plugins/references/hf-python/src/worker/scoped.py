"""Modes of torch that last as long as a module runs."""

import contextlib


@contextlib.contextmanager
def while_running(modules):
    """Of each module the mode that its function makes of the arguments of a call."""
    with contextlib.ExitStack() as attached:
        for module, make_mode in modules.items():
            call = _Call(make_mode)
            for handle in (
                module.register_forward_pre_hook(call.begin),
                module.register_forward_hook(call.end, always_call=True),
            ):
                attached.callback(handle.remove)
        yield


class _Call:
    """One call of a module."""

    def __init__(self, make_mode):
        self._make_mode = make_mode
        self._mode = None

    def begin(self, module, args):
        self._mode = self._make_mode(args)
        self._mode.__enter__()

    def end(self, module, args, output):
        if self._mode is not None:
            self._mode.__exit__(None, None, None)
            self._mode = None
