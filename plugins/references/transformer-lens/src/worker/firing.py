"""What fires in TransformerLens, in which order, how often and in which shapes."""

import torch

_INPUT = (1, 3)
# On one after the other: what is behind a flag fires then.
_FLAGS = ((), ("attn_result",), ("hook_mlp_in",), ("attn_in",), ("split_qkv_input",))


def firings(model, hooks):
    """Of each pass what fires in it; `hooks` are what a model that has more names is looked at by."""
    ids = torch.arange(_INPUT[1]).expand(_INPUT)
    passes, shapes = [], {}
    for flags in _FLAGS:
        fired = {}

        def observe(value, hook, name):
            # With some flags on, a norm has a dimension of heads that it does not have by itself.
            shape = shapes.setdefault(name, list(value.shape))
            fired.setdefault(name, {"name": name, "shape": shape, "times": 0})["times"] += 1

        with model.flags(flags), torch.no_grad():
            for name in model.names(hooks):
                model.point(name).add_hook(lambda value, hook, name=name: observe(value, hook, name))
            try:
                model.forward({"input_ids": ids})
            finally:
                model.model.reset_hooks()
        passes.append(list(fired.values()))
    return {"input": list(_INPUT), "passes": passes}
