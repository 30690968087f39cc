"""Embeddings, logits, and how a block is wired."""

from .fault import At, Fault, after_init, before_init


def _config(**values):
    return lambda config: [setattr(config, key, value) for key, value in values.items()]


def _one_further(model):
    last = model.wpe.num_embeddings - 1
    model.wpe.register_forward_pre_hook(lambda table, args: ((args[0] + 1).clamp(max=last),))


def _unscaled(embedding):
    embedding.scalar_embed_scale = 1.0
    embedding.embed_scale.fill_(1.0)


FAULTS = [
    Fault("embedding-scale-missing", "embeddings are not multiplied by sqrt(d_model)", "gemma/gemma", "gemma",
          At("hook_embed"), after_init("GemmaTextScaledWordEmbedding", _unscaled)),
    Fault("positions-from-1", "learned positions start at 1", "gpt2/tiny", "gpt2", At("hook_pos_embed"),
          after_init("GPT2Model", _one_further)),
    Fault("final-softcap-missing", "logits have no softcap", "gemma/gemma2", "gemma2", At("logits"),
          before_init("Gemma2ForCausalLM", _config(final_logit_softcapping=None))),
    Fault("parallel-as-sequential", "the MLP reads what attention has written", "gpt_neox/parallel", "gpt_neox",
          At("blocks.0.ln2.hook_scale"),
          after_init("GPTNeoXLayer", lambda layer: setattr(layer, "use_parallel_residual", False))),
    Fault("sequential-as-parallel", "the MLP does not read what attention has written", "gpt_neox/sequential", "gpt_neox",
          At("blocks.0.hook_resid_mid"),
          after_init("GPTNeoXLayer", lambda layer: setattr(layer, "use_parallel_residual", True))),
    Fault("residual-before-norm", "the stream goes on from before the norm", "bloom/post_norm_residual", "bloom",
          At("blocks.0.hook_resid_mid"),
          after_init("BloomBlock", lambda block: setattr(block, "apply_residual_connection_post_layernorm", False))),
]
