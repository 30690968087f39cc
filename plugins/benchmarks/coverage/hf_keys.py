"""Writes src/hf_keys.txt: for each causal language model of transformers, the config keys that its source reads.

    python hf_keys.py

A key counts for a class if the class reads it, or what its body names does (`config.key`, `getattr(config, "key")`). Under
an `attribute_map` a key has two spellings. Keys of training, of tokens and of what a run returns are left out.
"""

import ast
import re
from pathlib import Path

import transformers

CAUSAL = re.compile(r"(ForCausalLM|LMHeadModel)$")
OTHER_HEADS = re.compile(r"For(Sequence|Token|Question|Multiple)")
# What changes nothing in the logits of a plain forward pass.
HARMLESS = re.compile(
    r"dropout|pdrop|layerdrop|drop_rate|initializer|_std$|aux_loss|z_loss|jitter|gradient|^use_cache$|^output_|return_dict"
    r"|^(pad|bos|eos)_|label|problem_type|^is_decoder$|^is_encoder_decoder$|cross_attention|chunk_size_feed|^(torch_)?dtype$"
    r"|pretraining_tp|tokenizer|quantization|^(text|vision|audio)_config$|^model_type$|^architectures$|^_|^(to|get|update)_"
)
# `PreTrainedModel` reads the first; older configs spell `rope_parameters` as the others.
TIED = "tie_word_embeddings"
ROTARY = ["rope_scaling", "rope_theta", "partial_rotary_factor"]


def is_config(node):
    """Whether an expression is `config` or `something.config`."""
    return getattr(node, "id", None) == "config" or getattr(node, "attr", None) == "config"


def keys_in(definition):
    for node in ast.walk(definition):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and is_config(node.value):
            yield node.attr
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr" and is_config(node.args[0]):
            if isinstance(node.args[1], ast.Constant):
                yield node.args[1].value


def reached(name, definitions, seen):
    """Adds `name`, and whatever of the module it names, to `seen`."""
    if name in seen or OTHER_HEADS.search(name):
        return
    seen.add(name)
    for node in ast.walk(definitions[name]):
        if isinstance(node, ast.Name) and node.id in definitions:
            reached(node.id, definitions, seen)


def spellings(folder):
    """What configs of this family call an attribute."""
    found = {}
    for file in folder.glob("configuration_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "attribute_map":
                found.update(ast.literal_eval(node.value))
    return found


def classes(file):
    tree = ast.parse(file.read_text())
    definitions = {node.name: node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    spelled = spellings(file.parent)
    for name in filter(CAUSAL.search, definitions):
        seen = set()
        reached(name, definitions, seen)
        keys = {key for one in seen for key in keys_in(definitions[one]) if not HARMLESS.search(key)}
        keys |= {spelled[key] for key in keys if key in spelled}
        keys |= {TIED, *(ROTARY if "rope_parameters" in keys else [])}
        yield name, sorted(keys)


def main():
    models = Path(transformers.__file__).parent / "models"
    files = sorted(models.glob("*/modeling_*.py"))
    table = dict(pair for file in files for pair in classes(file))
    lines = [f"# Made by hf_keys.py of transformers {transformers.__version__}; class: the config keys that it reads."]
    lines += [f"{name}: {' '.join(keys)}" for name, keys in sorted(table.items())]
    Path(__file__).with_name("src").joinpath("hf_keys.txt").write_text("\n".join(lines) + "\n")


main()
