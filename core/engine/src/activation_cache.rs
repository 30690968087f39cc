//! What a run showed at its hooks, by TransformerLens's names.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use tlbench_checkpoint::Weights;
use tlbench_sdk::spec::{Branch, BranchInput, NormKind, NormSpec};
use tlbench_sdk::{DType, ModelSpec, Tensor, TensorMap, hooks, layer_of};

use crate::convert::{from_candle, to_candle};
use crate::error::EngineError;

/// Values at hooks, as [`Bridge::run_with_cache`](crate::Bridge::run_with_cache) gives them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActivationCache {
    values: TensorMap,
    /// The hooks at which the model writes to the stream, in order, whether their values are here or not.
    written: Vec<String>,
    /// The norms that take the mean out.
    centring: Vec<String>,
}

/// Where a saved cache lists [`ActivationCache::written`].
const WRITTEN: &str = "written";
/// Where a saved cache lists [`ActivationCache::centring`].
const CENTRING: &str = "centring";

/// Values of one shape, and what each is.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// `[components, batch, pos, d_model]`.
    pub values: Tensor,
    /// TransformerLens's label of each component.
    pub labels: Vec<String>,
}

/// Those of a model's hooks that show what is added to the stream.
fn written<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let is_written = |name: &&str| {
        ["hook_embed", "hook_pos_embed"].contains(name)
            || name.ends_with(".hook_attn_out")
            || name.ends_with(".hook_mlp_out")
    };
    names.filter(is_written).map(str::to_owned).collect()
}

/// The norms of `spec` that take the mean out of the stream.
fn centring(spec: &ModelSpec) -> Vec<String> {
    fn of_branch<T>(branch: Option<&Branch<T>>) -> Option<&NormSpec> {
        match &branch?.input {
            BranchInput::Norm(norm) => Some(norm),
            BranchInput::Stream | BranchInput::SharedNorm => None,
        }
    }
    let layers = spec.layers.iter().enumerate().flat_map(|(index, layer)| {
        let ln1 = (
            format!("blocks.{index}.ln1"),
            of_branch(layer.attn.as_ref()),
        );
        let ln2 = (format!("blocks.{index}.ln2"), of_branch(layer.mlp.as_ref()));
        [ln1, ln2]
    });
    layers
        .chain([("ln_final".to_owned(), spec.final_norm.as_ref())])
        .filter(|(_, norm)| norm.is_some_and(|norm| norm.kind == NormKind::LayerNorm))
        .map(|(name, _)| name)
        .collect()
}

impl ActivationCache {
    pub(crate) fn new(values: TensorMap, spec: &ModelSpec) -> Self {
        let hooks = hooks(spec);
        Self {
            values,
            written: written(hooks.iter().map(|hook| hook.name.as_str())),
            centring: centring(spec),
        }
    }

    /// The values by full name, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The value at the hook of this full name (`blocks.3.attn.hook_z`).
    ///
    /// # Errors
    /// If the cache does not hold it.
    pub fn get(&self, name: &str) -> Result<&Tensor, EngineError> {
        let value = self.values.get(name);
        value.ok_or_else(|| EngineError::request(name, "a hook of the cache", "none of that name"))
    }

    /// The value at a hook of a block by its short name: `("z", 3)`, `("resid_post", -1)`, `("ln1.scale", 0)`. Negative
    /// layers count from the last one.
    ///
    /// # Errors
    /// If the cache does not hold it.
    pub fn at(&self, short: &str, layer: isize) -> Result<&Tensor, EngineError> {
        let layers = self.n_layers();
        let index = if layer < 0 {
            layers.checked_add_signed(layer)
        } else {
            Some(layer.unsigned_abs())
        };
        let index = index.filter(|&index| index < layers).ok_or_else(|| {
            EngineError::request(short, format!("one of {layers} layers"), layer.to_string())
        })?;
        let (parts, hook) = match short.split_once('.') {
            Some((part, hook)) => (vec![part], hook),
            None => (vec!["", "attn", "mlp"], short),
        };
        let names = parts.iter().map(|part| {
            let dot = if part.is_empty() { "" } else { "." };
            format!("blocks.{index}.{part}{dot}hook_{hook}")
        });
        let mut found = names.filter_map(|name| self.values.get(&name));
        found.next().ok_or_else(|| {
            let what = format!("{short} of layer {index}");
            EngineError::request(what, "a hook of the cache", "none of that name")
        })
    }

    /// The values at the same hook of every block, `[n_layers, ..]`.
    ///
    /// # Errors
    /// If the cache does not hold all of them.
    pub fn stack_activation(&self, short: &str) -> Result<Tensor, EngineError> {
        let layers = (0_isize..).take(self.n_layers());
        let values = layers.map(|layer| self.at(short, layer));
        stack(&values.collect::<Result<Vec<_>, _>>()?)
    }

    /// What was written to the stream before block `layer` (all of it: `None`): the embeddings, and each block's two
    /// branches. Their sum is the stream there.
    ///
    /// # Errors
    /// If the cache does not hold all of it.
    pub fn decompose_resid(&self, layer: Option<usize>) -> Result<Stack, EngineError> {
        let layer = self.layer(layer)?;
        let before = self
            .written
            .iter()
            .filter_map(|name| match name.strip_prefix("blocks.") {
                None => Some((name, name.replacen("hook_", "", 1))),
                Some(rest) => {
                    let (index, branch) = rest.split_once(".hook_")?;
                    let is_before = index.parse::<usize>().ok()? < layer;
                    is_before.then(|| (name, format!("{index}_{branch}")))
                }
            });
        let parts = before.map(|(name, label)| Ok((label, self.get(name)?)));
        Stack::of(parts.collect::<Result<_, EngineError>>()?)
    }

    /// The stream before each block up to `layer` (`None`: up to the end of the last one), and with `incl_mid` between
    /// the two branches of each as well.
    ///
    /// # Errors
    /// If the cache does not hold all of it.
    pub fn accumulated_resid(
        &self,
        layer: Option<usize>,
        incl_mid: bool,
    ) -> Result<Stack, EngineError> {
        let layer = self.layer(layer)?;
        let mut parts = Vec::new();
        for index in 0..=layer {
            if index == self.n_layers() {
                parts.push(("final_post".to_owned(), self.at("resid_post", -1)?));
                continue;
            }
            let pre = self.get(&format!("blocks.{index}.hook_resid_pre"))?;
            parts.push((format!("{index}_pre"), pre));
            if incl_mid && index < layer {
                let mid = self.get(&format!("blocks.{index}.hook_resid_mid"))?;
                parts.push((format!("{index}_mid"), mid));
            }
        }
        Stack::of(parts)
    }

    /// What each part of the stream contributes to the output of a norm (`blocks.3.ln2`, `ln_final`), before its gain and
    /// bias: the norm of a stream is a linear map of its parts, once the scale is that of the whole.
    ///
    /// # Errors
    /// If the cache does not hold the norm's `hook_scale`.
    #[doc(alias = "apply_ln")]
    pub fn apply_ln_to_stack(&self, stack: &Stack, norm: &str) -> Result<Stack, EngineError> {
        let scale = to_candle(self.get(&format!("{norm}.hook_scale"))?)?;
        let mut values = to_candle(&stack.values)?;
        if self.centring.iter().any(|name| name == norm) {
            values = values.broadcast_sub(&values.mean_keepdim(candle_core::D::Minus1)?)?;
        }
        Ok(Stack {
            values: from_candle(&values.broadcast_div(&scale)?)?,
            labels: stack.labels.clone(),
        })
    }

    /// Writes a safetensors file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), EngineError> {
        let failed = |error: safetensors::SafeTensorError| {
            let what = file.display().to_string();
            EngineError::request(what, "a file that can be written", error.to_string())
        };
        let views = self.values.iter().map(|(name, value)| {
            let dtype = match value.dtype() {
                DType::F64 => Dtype::F64,
                DType::F32 => Dtype::F32,
                DType::F16 => Dtype::F16,
                DType::BF16 => Dtype::BF16,
                DType::I64 => Dtype::I64,
            };
            Ok((
                name,
                TensorView::new(dtype, value.shape().to_vec(), value.bytes())?,
            ))
        });
        let views: BTreeMap<_, _> = views.collect::<Result<_, _>>().map_err(failed)?;
        let metadata = HashMap::from([
            (WRITTEN.to_owned(), self.written.join(" ")),
            (CENTRING.to_owned(), self.centring.join(" ")),
        ]);
        serialize_to_file(views, Some(metadata), file).map_err(failed)
    }

    /// Reads what [`ActivationCache::save`] wrote.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn load(file: &Path) -> Result<Self, EngineError> {
        let stored = Weights::open(file)?;
        let values = stored
            .names()
            .map(|name| Ok((name.to_owned(), stored.read(name)?)));
        let names = |key| {
            let names = stored.metadata().get(key).into_iter();
            let names = names.flat_map(|names| names.split_whitespace());
            names.map(str::to_owned).collect()
        };
        Ok(Self {
            values: values.collect::<Result<_, EngineError>>()?,
            written: names(WRITTEN),
            centring: names(CENTRING),
        })
    }

    /// How many layers the model has, whatever was kept of them.
    fn n_layers(&self) -> usize {
        let names = self.values.keys().chain(&self.written);
        let last = names.filter_map(|name| layer_of(name)).max();
        last.map_or(0, |last| last + 1)
    }

    fn layer(&self, layer: Option<usize>) -> Result<usize, EngineError> {
        let layers = self.n_layers();
        let layer = layer.unwrap_or(layers);
        if layer > layers {
            let expected = format!("at most {layers}");
            return Err(EngineError::request("layer", expected, layer.to_string()));
        }
        Ok(layer)
    }
}

impl Stack {
    fn of(parts: Vec<(String, &Tensor)>) -> Result<Self, EngineError> {
        let (labels, values): (Vec<String>, Vec<&Tensor>) = parts.into_iter().unzip();
        Ok(Self {
            values: stack(&values)?,
            labels,
        })
    }
}

fn stack(values: &[&Tensor]) -> Result<Tensor, EngineError> {
    if values.is_empty() {
        return Err(EngineError::request("the cache", "values to stack", "none"));
    }
    let values = values.iter().map(|value| to_candle(value));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    from_candle(&candle_core::Tensor::stack(&values, 0)?)
}
