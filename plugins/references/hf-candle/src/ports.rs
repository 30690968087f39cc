//! candle-transformers' models behind one face.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use candle_core::{Device, Result as CandleResult, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{
    gemma, gemma2, gemma3, llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, starcoder2,
};

use crate::config::Config;
use crate::error::{Error, Result, first_line};

/// A model with its cache.
pub(crate) trait Port {
    /// Feeds `tokens [batch, pos]` behind the `past` ones that the cache holds, and gives the logits of the last
    /// position, `[batch, d_vocab]`.
    fn last_logits(&mut self, tokens: &Tensor, past: usize) -> CandleResult<Tensor>;

    /// Empties the cache.
    fn forget(&mut self) -> CandleResult<()>;
}

type Open = fn(&Config, VarBuilder<'static>) -> Result<Box<dyn Port>>;

/// By `model_type`.
const PORTS: &[(&str, Open)] = &[
    ("gemma", |config, weights| {
        let hyper = config.read()?;
        let model = load(config, || gemma::Model::new(false, &hyper, weights))?;
        Ok(caching(
            model,
            gemma::Model::forward,
            gemma::Model::clear_kv_cache,
        ))
    }),
    ("gemma2", |config, weights| {
        let hyper = config.read()?;
        let model = load(config, || gemma2::Model::new(false, &hyper, weights))?;
        Ok(caching(
            model,
            gemma2::Model::forward,
            gemma2::Model::clear_kv_cache,
        ))
    }),
    ("gemma3_text", |config, weights| {
        let hyper = config.read()?;
        let model = load(config, || gemma3::Model::new(false, &hyper, weights))?;
        Ok(caching(
            model,
            gemma3::Model::forward,
            gemma3::Model::clear_kv_cache,
        ))
    }),
    ("llama", |config, weights| {
        let hyper = config.read::<llama::LlamaConfig>()?.into_config(false);
        let dtype = weights.dtype();
        let model = load(config, || llama::Llama::load(weights, &hyper))?;
        let empty = llama::Cache::new(true, dtype, &hyper, &Device::Cpu)?;
        let cache = empty.clone();
        Ok(Box::new(Llama {
            model,
            empty,
            cache,
        }))
    }),
    ("mistral", |config, weights| {
        let hyper = config.read()?;
        let model = load(config, || mistral::Model::new(&hyper, weights))?;
        Ok(caching(
            model,
            mistral::Model::forward,
            mistral::Model::clear_kv_cache,
        ))
    }),
    ("mixtral", |config, weights| {
        let hyper = config.read()?;
        let model = load(config, || mixtral::Model::new(&hyper, weights.clone()))?;
        Ok(Box::new(Mixtral {
            model,
            hyper,
            weights,
        }))
    }),
    ("qwen2", |config, weights| {
        let hyper = config.read()?;
        let model = load(config, || qwen2::ModelForCausalLM::new(&hyper, weights))?;
        Ok(caching(
            model,
            qwen2::ModelForCausalLM::forward,
            qwen2::ModelForCausalLM::clear_kv_cache,
        ))
    }),
    ("qwen3", |config, weights| {
        let hyper = config.read()?;
        let model = load(config, || qwen3::ModelForCausalLM::new(&hyper, weights))?;
        Ok(caching(
            model,
            qwen3::ModelForCausalLM::forward,
            qwen3::ModelForCausalLM::clear_kv_cache,
        ))
    }),
    ("qwen3_moe", |config, weights| {
        let hyper = config.read()?;
        let model = load(config, || qwen3_moe::ModelForCausalLM::new(&hyper, weights))?;
        Ok(caching(
            model,
            qwen3_moe::ModelForCausalLM::forward,
            qwen3_moe::ModelForCausalLM::clear_kv_cache,
        ))
    }),
    ("starcoder2", |config, weights| {
        let hyper = config.read()?;
        let model = load(config, || starcoder2::Model::new(&hyper, weights))?;
        Ok(caching(
            model,
            starcoder2::Model::forward,
            starcoder2::Model::clear_kv_cache,
        ))
    }),
];

/// The port of the config's family, with `weights`.
pub(crate) fn open(config: &Config, weights: VarBuilder<'static>) -> Result<Box<dyn Port>> {
    let known = PORTS.iter().find(|(name, _)| *name == config.model_type());
    let (_, open) = known.ok_or_else(|| Error::NoPort {
        model_type: config.model_type().to_owned(),
        known: PORTS
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    open(config, weights)
}

/// What a port's own loader makes of the checkpoint; some panic where others return an error.
fn load<T>(config: &Config, load: impl FnOnce() -> CandleResult<T>) -> Result<T> {
    let loaded = panic::catch_unwind(AssertUnwindSafe(load));
    let reason = match loaded {
        Ok(Ok(model)) => return Ok(model),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => said(&*panic),
    };
    Err(Error::Load {
        model_type: config.model_type().to_owned(),
        reason: first_line(&reason).to_owned(),
    })
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic".to_owned())
}

/// A model that keeps its cache itself.
struct Caching<M> {
    model: M,
    forward: fn(&mut M, &Tensor, usize) -> CandleResult<Tensor>,
    clear: fn(&mut M),
}

fn caching<M: 'static>(
    model: M,
    forward: fn(&mut M, &Tensor, usize) -> CandleResult<Tensor>,
    clear: fn(&mut M),
) -> Box<dyn Port> {
    Box::new(Caching {
        model,
        forward,
        clear,
    })
}

impl<M> Port for Caching<M> {
    fn last_logits(&mut self, tokens: &Tensor, past: usize) -> CandleResult<Tensor> {
        (self.forward)(&mut self.model, tokens, past)?.squeeze(1)
    }

    fn forget(&mut self) -> CandleResult<()> {
        (self.clear)(&mut self.model);
        Ok(())
    }
}

/// Its cache is a value of the caller's.
struct Llama {
    model: llama::Llama,
    empty: llama::Cache,
    cache: llama::Cache,
}

impl Port for Llama {
    fn last_logits(&mut self, tokens: &Tensor, past: usize) -> CandleResult<Tensor> {
        self.model.forward(tokens, past, &mut self.cache)
    }

    fn forget(&mut self) -> CandleResult<()> {
        self.cache = self.empty.clone();
        Ok(())
    }
}

/// Its cache cannot be emptied, so that it takes a new model.
struct Mixtral {
    model: mixtral::Model,
    hyper: mixtral::Config,
    weights: VarBuilder<'static>,
}

impl Port for Mixtral {
    fn last_logits(&mut self, tokens: &Tensor, past: usize) -> CandleResult<Tensor> {
        self.model.forward(tokens, past)?.squeeze(1)
    }

    fn forget(&mut self) -> CandleResult<()> {
        self.model = mixtral::Model::new(&self.hyper, self.weights.clone())?;
        Ok(())
    }
}
