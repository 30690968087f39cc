"""transformers' parameters, by the names of a checkpoint's tensors."""

from .protocol import unsupported


def parameters(model, stored):
    """The parameter that each of the names `stored` was loaded into; tied ones are the same.

    The inner model alone saves its tensors without the prefix that a language model's have.
    """
    known = dict(model.named_parameters(remove_duplicate=False))
    prefix = f"{model.base_model_prefix}."
    found = {}
    for name in stored:
        spelled = [name, prefix + name, name.removeprefix(prefix)]
        path = next((path for path in spelled if path in known), None)
        if path is None:
            raise unsupported(f"{type(model).__name__} in transformers has no parameter `{name}`")
        found[name] = known[path]
    return found
