//! Rotary positions, in both spellings that HF has had: `rope_parameters`, and `rope_scaling` beside `rope_theta`.

use serde_json::{Map, Value};

use super::{ConfigError, ConfigReader, LayerType, shown};
use crate::spec::{Pairing, RotaryScaling, RotarySpec};

/// Which keys of a family stand beside the table of rotary parameters, and what HF takes where they are absent. What
/// the table holds itself goes first.
#[derive(Clone, Copy, Debug)]
pub struct RotaryKeys {
    /// The base of the wavelengths.
    pub theta: &'static str,
    /// Its default.
    pub default_theta: f64,
    /// Which share of a head's channels is rotated, and its default; `None` where HF's module rotates whole heads.
    pub partial: Option<(&'static str, f64)>,
}

impl RotaryKeys {
    /// Those of most families.
    pub const USUAL: Self = Self {
        theta: "rope_theta",
        default_theta: 10_000.0,
        partial: None,
    };

    /// The same, with the base of the wavelengths under another key, or with another default.
    pub const fn with_theta(theta: &'static str, default_theta: f64) -> Self {
        Self {
            theta,
            default_theta,
            ..Self::USUAL
        }
    }
}

/// HF's `ROPE_INIT_FUNCTIONS`, but for `proportional` and `axial`, which no language model here has.
#[derive(Clone, Copy)]
enum RopeType {
    Default,
    Linear,
    Dynamic,
    Yarn,
    LongRope,
    Llama3,
}

const ROPE_TYPES: &[(&str, RopeType)] = &[
    ("default", RopeType::Default),
    ("linear", RopeType::Linear),
    ("dynamic", RopeType::Dynamic),
    ("yarn", RopeType::Yarn),
    ("longrope", RopeType::LongRope),
    ("llama3", RopeType::Llama3),
];

impl ConfigReader {
    /// The rotary positions of all layers, for heads of `d_head` channels and HF's `max_position_embeddings`.
    ///
    /// # Errors
    /// If a key is missing that the kind of scaling needs, or holds something else.
    pub fn rotary(
        &self,
        keys: RotaryKeys,
        d_head: usize,
        n_ctx: usize,
    ) -> Result<RotarySpec, ConfigError> {
        let new = self.table(&["rope_parameters"])?;
        // HF takes the old spelling first, unless it is empty.
        let old = self.table(&["rope_scaling"])?;
        let table = old
            .filter(|table| !table.config.is_empty())
            .or(new)
            .unwrap_or_else(|| self.empty_table("rope_parameters"));
        if let Some((key, value)) = table.config.iter().find(|(_, value)| value.is_object()) {
            let expected = "one set of parameters for all layers";
            return Err(table.error(&[key.as_str()], expected, shown(value)));
        }
        let elsewhere = self.optional_size(&["original_max_position_embeddings"])?;
        let truncate = table.flag_or(&["truncate"], true)?;
        let table = Table {
            outer: self,
            table,
            n_ctx,
            elsewhere,
            truncate,
        };
        table.rotary(keys, d_head)
    }

    /// The rotary positions of the layers of one type, where each has its own (Gemma-3). The old spelling's
    /// `rope_scaling` is of the layers without a window.
    ///
    /// # Errors
    /// If a key is missing that the kind of scaling needs, or holds something else.
    pub fn rotary_of(
        &self,
        layers: LayerType,
        keys: RotaryKeys,
        d_head: usize,
        n_ctx: usize,
    ) -> Result<RotarySpec, ConfigError> {
        let outer = self
            .table(&["rope_parameters"])?
            .unwrap_or_else(|| self.empty_table("rope_parameters"));
        let mut table = outer
            .table(&[layers.name()])?
            .unwrap_or_else(|| outer.empty_table(layers.name()));
        let scaling = self.table(&["rope_scaling"])?;
        let old = scaling.filter(|_| layers == LayerType::Full);
        if let Some(old) = &old {
            table.config.extend(old.config.clone());
        }
        let table = Table {
            outer: self,
            table,
            n_ctx,
            elsewhere: None,
            // HF looks for it beside the layer types.
            truncate: outer.flag_or(&["truncate"], true)?,
        };
        let rotary = table.rotary(keys, d_head)?;
        if let Some(old) = old {
            old.note_what_was_read_of(&table.table);
        }
        Ok(rotary)
    }

    fn empty_table(&self, key: &str) -> Self {
        self.inner(key, Map::new())
    }
}

/// One set of HF's rotary parameters.
struct Table<'a> {
    outer: &'a ConfigReader,
    table: ConfigReader,
    n_ctx: usize,
    /// The trained context, where the config has it beside the table; it goes first then.
    elsewhere: Option<usize>,
    truncate: bool,
}

impl Table<'_> {
    fn rotary(&self, keys: RotaryKeys, d_head: usize) -> Result<RotarySpec, ConfigError> {
        let theta = self.outer.number_or(&[keys.theta], keys.default_theta)?;
        let theta = self.table.number_or(&["rope_theta"], theta)?;
        if theta <= 0.0 {
            let found = theta.to_string();
            return Err(self.table.error(&["rope_theta"], "a number above 0", found));
        }
        Ok(RotarySpec {
            dim: self.dim(keys, d_head)?,
            pairing: Pairing::Half,
            theta,
            scaling: self.scaling()?,
        })
    }

    fn dim(&self, keys: RotaryKeys, d_head: usize) -> Result<usize, ConfigError> {
        let (key, default) = keys.partial.unwrap_or(("partial_rotary_factor", 1.0));
        let share = self.outer.number_or(&[key], default)?;
        let share = self.table.number_or(&["partial_rotary_factor"], share)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "as Python's `int` does; what is negative becomes 0, which is refused"
        )]
        let dim = (d_head as f64 * share) as usize;
        if dim == 0 || dim > d_head || !dim.is_multiple_of(2) {
            let expected = format!("a share of {d_head} channels that is whole pairs");
            let found = share.to_string();
            return Err(self
                .table
                .error(&["partial_rotary_factor"], expected, found));
        }
        if dim != d_head && keys.partial.is_none() {
            let expected = "1, as HF's module rotates whole heads";
            return Err(self
                .table
                .error(&["partial_rotary_factor"], expected, share.to_string()));
        }
        Ok(dim)
    }

    fn scaling(&self) -> Result<RotaryScaling, ConfigError> {
        let table = &self.table;
        let number = |key: &str| table.number(&[key]);
        Ok(
            match table.choice_or(&["rope_type", "type"], "default", ROPE_TYPES)? {
                RopeType::Default => RotaryScaling::None,
                RopeType::Linear => RotaryScaling::Linear {
                    factor: number("factor")?,
                },
                RopeType::Dynamic => RotaryScaling::Dynamic {
                    factor: number("factor")?,
                    original_n_ctx: self.n_ctx,
                },
                RopeType::Yarn => self.yarn()?,
                RopeType::LongRope => self.longrope()?,
                RopeType::Llama3 => RotaryScaling::Llama3 {
                    factor: number("factor")?,
                    low_freq_factor: number("low_freq_factor")?,
                    high_freq_factor: number("high_freq_factor")?,
                    original_n_ctx: self.original_n_ctx()?,
                },
            },
        )
    }

    fn yarn(&self) -> Result<RotaryScaling, ConfigError> {
        let factor = self.factor()?;
        // HF takes 0 for absent.
        let beta = |key: &str, default| -> Result<f64, ConfigError> {
            Ok(self.nonzero(key)?.unwrap_or(default))
        };
        let attention_factor = match self.table.optional_number(&["attention_factor"])? {
            Some(given) => given,
            None => match (self.nonzero("mscale")?, self.nonzero("mscale_all_dim")?) {
                (Some(some), Some(all)) => yarn_mscale(factor, some) / yarn_mscale(factor, all),
                _ => yarn_mscale(factor, 1.0),
            },
        };
        Ok(RotaryScaling::Yarn {
            factor,
            original_n_ctx: self.original_n_ctx()?,
            beta_fast: beta("beta_fast", 32.0)?,
            beta_slow: beta("beta_slow", 1.0)?,
            attention_factor,
            truncate: self.truncate,
        })
    }

    fn longrope(&self) -> Result<RotaryScaling, ConfigError> {
        let original_n_ctx = self.original_n_ctx()?;
        let factor = self.factor()?;
        let attention_factor = match self.table.optional_number(&["attention_factor"])? {
            Some(given) => given,
            None if factor <= 1.0 => 1.0,
            None => (1.0 + factor.ln() / (original_n_ctx as f64).ln()).sqrt(),
        };
        Ok(RotaryScaling::LongRope {
            short_factors: self.factors("short_factor")?,
            long_factors: self.factors("long_factor")?,
            original_n_ctx,
            attention_factor,
        })
    }

    /// The stretch, or else what the two contexts imply.
    fn factor(&self) -> Result<f64, ConfigError> {
        let implied = self.n_ctx as f64 / self.original_n_ctx()? as f64;
        self.table.number_or(&["factor"], implied)
    }

    fn factors(&self, key: &str) -> Result<Vec<f64>, ConfigError> {
        let expected = "a list of numbers";
        let list = |value: &Value| {
            let numbers = value.as_array()?.iter().map(Value::as_f64);
            numbers.collect::<Option<Vec<f64>>>()
        };
        self.table
            .typed(&[key], expected, list)?
            .ok_or_else(|| self.table.error(&[key], expected, "nothing"))
    }

    fn original_n_ctx(&self) -> Result<usize, ConfigError> {
        let own = self
            .table
            .size_or(&["original_max_position_embeddings"], self.n_ctx)?;
        Ok(self.elsewhere.unwrap_or(own))
    }

    fn nonzero(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        Ok(self.table.optional_number(&[key])?.filter(|&n| n != 0.0))
    }
}

fn yarn_mscale(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * mscale * factor.ln() + 1.0
    }
}
