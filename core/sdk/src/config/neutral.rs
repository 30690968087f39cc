//! Keys that change nothing.

use super::ConfigReader;

/// Keys that change nothing in what a causal language model computes at inference, whatever its family: dropout, heads of
/// other tasks, what a tokenizer or a program around the model reads, and the order of operations.
pub(super) const KEYS: &[&str] = &[
    "_attn_implementation_autoset",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attn_pdrop",
    "bos_token_id",
    "classifier_dropout",
    "dtype",
    "embd_pdrop",
    "embedding_dropout",
    "eos_token_id",
    "finetuning_task",
    "gradient_checkpointing",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_decoder",
    "keys_to_ignore_at_inference",
    "label2id",
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "resid_pdrop",
    "residual_dropout",
    "return_dict",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "transformers_version",
    "unk_token_id",
    "use_cache",
];

impl ConfigReader {
    /// Says that `keys` change nothing in the mathematics of inference (how keys are cached, say).
    pub fn neutral(&self, keys: &[&str]) {
        let noted = keys.iter().map(|key| format!("{}{key}", self.within));
        self.notes.neutral.borrow_mut().extend(noted);
    }
}
