"""The answer to one question, in one precision and one order of summation."""

import contextlib

import torch

from .feeding import generated
from .firing import firings
from .precision import SplitContractions
from .protocol import missing, unsupported
from .question import parse_question
from .runs import run, run_in_pieces
from .stimulus import DERIVED, GENERATED, PARAMETER_GRADIENT

_DTYPES = {"f32": torch.float32, "f64": torch.float64}
_WEIGHT = "weight:"


class Answers:
    """A checkpoint that is open."""

    def __init__(self, model, load, checkpoint, hooks):
        self._name = model
        self._load = load
        self._checkpoint = checkpoint
        self._hooks = {hook["name"]: hook for hook in hooks}
        # The last models, by precision and processing: a question is answered in two precisions in turn.
        self._loaded = {}

    def firings(self, dtype):
        """What fires, in a model whose weights are as they are stored."""
        return firings(self._unedited((), _DTYPES[dtype]), list(self._hooks))

    def answer(self, params, tensors):
        question = parse_question(params["request"], tensors, self._hooks)
        model = self._model(question.stimulus, _DTYPES[params["dtype"]])
        for name in question.hooks:
            if model.point(name) is None:
                raise missing(f"{self._name} has no hook `{name}`")
        split = SplitContractions(params["pieces"]) if params["pieces"] > 1 else contextlib.nullcontext()
        with split:
            values = self._values(model, question)
        wanted = question.stimulus.quantities
        if hidden := [name for name in wanted if name not in values]:
            raise missing(f"{self._name} does not show `{hidden[0]}` here")
        return {name: values[name].detach().contiguous().clone() for name in wanted}

    def _values(self, model, question):
        stimulus = question.stimulus
        values = self._weights(model, stimulus)
        if stimulus.generate is not None:
            values[GENERATED] = self._generated(model, question)
        elif set(stimulus.quantities) - values.keys():
            if stimulus.chunks:
                logits, shown = run_in_pieces(model, question)
            else:
                logits, shown = run(model, question, lambda: values.update(self._gradients(model, stimulus)))
            values.update(shown)
            values.update((name, stimulus.derive(name, logits)) for name in DERIVED)
        return values

    def _generated(self, model, question):
        if question.stimulus.chunks or question.hooks or question.stimulus.objective is not None:
            raise unsupported("hooks, gradients or pieces while tokens are appended")
        with torch.no_grad():
            return generated(model.step, question.stimulus, model.model.cfg.n_ctx)

    def _weights(self, model, stimulus):
        """As they are now, by canonical name, or by that of the stored tensor that they make up."""
        wanted = stimulus.named(_WEIGHT)
        held = model.weights() if wanted else {}
        found = {name: held[name] for name in wanted & held.keys()}
        dtype = next(model.model.parameters()).dtype
        for name in wanted - held.keys():
            if self._checkpoint.has_stored(name):
                found[name] = self._checkpoint.stored_weight(name, held).to(dtype)
        return {_WEIGHT + name: weight for name, weight in found.items()}

    def _gradients(self, model, stimulus):
        """By parameters, after a run was differentiated."""
        wanted = stimulus.named(PARAMETER_GRADIENT)
        gradients = model.gradients() if wanted else {}
        dtype = next(model.model.parameters()).dtype
        found = {}
        for name in wanted:
            if self._checkpoint.has_stored(name):
                found[name] = self._checkpoint.stored_gradient(name, gradients)
            elif name in gradients:
                _, found[name] = gradients[name]
            else:
                raise missing(f"{self._name} shows no gradient by `{name}`")
        return {PARAMETER_GRADIENT + name: gradient.to(dtype) for name, gradient in found.items()}

    def _model(self, stimulus, dtype):
        """The model with its weights processed, and edited before or after that."""
        edits = stimulus.edits_of("weight")
        if not edits:
            return self._unedited(stimulus.processing, dtype)
        edit = lambda name: lambda weight: _edited(weight, edits[name], stimulus.operands)
        stored = [(name, edit(name)) for name in edits if self._checkpoint.has_stored(name)]
        model = self._load(self._checkpoint, stimulus.processing, dtype, stored)
        weights = model.weights()
        with torch.no_grad():
            for name in edits:
                if self._checkpoint.has_stored(name):
                    continue
                if name not in weights:
                    raise missing(f"{self._name} has no weight `{name}`")
                weights[name].copy_(edit(name)(weights[name].detach().clone()))
        return model

    def _unedited(self, processing, dtype):
        if (dtype, processing) not in self._loaded:
            self._loaded = {key: model for key, model in self._loaded.items() if key[1] == processing}
            self._loaded[dtype, processing] = self._load(self._checkpoint, processing, dtype, ())
        return self._loaded[dtype, processing]


def _edited(weight, edits, operands):
    for edit in edits:
        # Rows of a weight are entries of its first dimension.
        weight = edit.apply(("batch",), weight, operands)
    return weight
