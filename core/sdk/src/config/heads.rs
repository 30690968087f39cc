//! Heads of attention, by the keys of most families.

use super::{ConfigError, ConfigReader};
use crate::spec::Heads;

/// HF's defaults for the keys of heads.
#[derive(Clone, Copy, Debug)]
pub struct HeadDefaults {
    /// Of `hidden_size`.
    pub d_model: usize,
    /// Of `num_attention_heads`.
    pub n_heads: usize,
    /// Of `num_key_value_heads`; `None`: as many as query heads.
    pub n_kv_heads: Option<usize>,
    /// Of `head_dim`.
    pub d_head: HeadWidth,
}

/// How wide a head is unless `head_dim` says it.
#[derive(Clone, Copy, Debug)]
pub enum HeadWidth {
    /// So many channels.
    Fixed(usize),
    /// The width of the stream over the heads, which has to be whole.
    Share,
    /// The width of the stream over the heads, rounded down.
    ShareRoundedDown,
}

impl ConfigReader {
    /// The heads of `hidden_size`, `num_attention_heads`, `num_key_value_heads` (where `null` is as many as query heads)
    /// and `head_dim`.
    ///
    /// # Errors
    /// If a key holds something else than a size, or the heads cannot be shared out.
    pub fn heads(&self, defaults: HeadDefaults) -> Result<Heads, ConfigError> {
        let (width, queries, keys) = ("hidden_size", "num_attention_heads", "num_key_value_heads");
        let d_model = self.size_or(&[width], defaults.d_model)?;
        let n_heads = self.size_or(&[queries], defaults.n_heads)?;
        let d_head = match (self.optional_size(&["head_dim"])?, defaults.d_head) {
            (Some(d_head), _) | (None, HeadWidth::Fixed(d_head)) => d_head,
            (None, HeadWidth::Share) => self.d_head((width, d_model), (queries, n_heads))?,
            (None, HeadWidth::ShareRoundedDown) => d_model / n_heads,
        };
        let default = defaults.n_kv_heads.unwrap_or(n_heads);
        let given = self.unless_null(keys, |names| self.size_or(names, default))?;
        let n_kv_heads = given.unwrap_or(n_heads);
        if !n_heads.is_multiple_of(n_kv_heads) {
            let expected = format!("a divisor of {queries} = {n_heads}");
            return Err(self.error(&[keys], expected, n_kv_heads.to_string()));
        }
        Ok(Heads {
            n_heads,
            n_kv_heads,
            d_head,
            d_model,
        })
    }

    /// Heads that share the stream out among them, each with keys of its own: by the spellings of the stream's width and of
    /// their number, the one that wins first, each with HF's default.
    ///
    /// # Errors
    /// If a key holds something else than a size, or the stream cannot be shared out.
    pub fn sharing_heads(
        &self,
        (widths, d_model): (&[&str], usize),
        (counts, n_heads): (&[&str], usize),
    ) -> Result<Heads, ConfigError> {
        let d_model = self.size_or(widths, d_model)?;
        let n_heads = self.size_or(counts, n_heads)?;
        let d_head = self.share(
            (self.spellings(widths), d_model),
            (self.spellings(counts), n_heads),
        )?;
        Ok(Heads::sharing(d_model, n_heads, d_head))
    }

    /// The width of a head, where `d_model` of the key `width` is shared out among the `n_heads` of the key `heads`.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn d_head(
        &self,
        (width, d_model): (&str, usize),
        (heads, n_heads): (&str, usize),
    ) -> Result<usize, ConfigError> {
        self.share((&[width], d_model), (&[heads], n_heads))
    }

    fn share(
        &self,
        (widths, d_model): (&[&str], usize),
        (counts, n_heads): (&[&str], usize),
    ) -> Result<usize, ConfigError> {
        if d_model.is_multiple_of(n_heads) {
            return Ok(d_model / n_heads);
        }
        let expected = format!("a multiple of {} = {n_heads}", counts.join(" or "));
        Err(self.error(widths, expected, d_model.to_string()))
    }

    /// The one of `names` that the config has, or else all.
    fn spellings<'a>(&self, names: &'a [&'a str]) -> &'a [&'a str] {
        let given = names
            .iter()
            .position(|&name| self.config.contains_key(name));
        given.map_or(names, |place| &names[place..=place])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn heads(d_head: HeadWidth, config: &Value) -> Result<[usize; 4], String> {
        let reader = ConfigReader::new(config.as_object().cloned().unwrap_or_default());
        let defaults = HeadDefaults {
            d_model: 24,
            n_heads: 6,
            n_kv_heads: Some(3),
            d_head,
        };
        let heads = reader.heads(defaults).map_err(|error| error.to_string())?;
        Ok([heads.d_model, heads.n_heads, heads.n_kv_heads, heads.d_head])
    }

    #[test]
    fn absent_keys_have_defaults_and_key_heads_that_are_null_are_as_many_as_queries_have() {
        use HeadWidth::{Fixed, Share, ShareRoundedDown};
        assert_eq!(heads(Share, &json!({})), Ok([24, 6, 3, 4]));
        assert_eq!(heads(Fixed(9), &json!({})), Ok([24, 6, 3, 9]));
        assert_eq!(heads(Fixed(9), &json!({"head_dim": 5})), Ok([24, 6, 3, 5]));
        let null = json!({"num_key_value_heads": null});
        assert_eq!(heads(Share, &null), Ok([24, 6, 6, 4]));
        let rest = json!({"hidden_size": 29});
        assert_eq!(heads(ShareRoundedDown, &rest), Ok([29, 6, 3, 4]));
    }

    #[test]
    fn heads_that_share_the_stream_are_read_by_any_spelling_and_refused_by_the_one_that_is_there() {
        let heads = |config: Value| {
            let reader = ConfigReader::new(config.as_object().cloned().unwrap_or_default());
            let widths: &[&str] = &["n_embed", "hidden_size"];
            reader.sharing_heads((widths, 24), (&["n_head"], 6))
        };
        assert_eq!(heads(json!({})), Ok(Heads::sharing(24, 6, 4)));
        let given = json!({"hidden_size": 30, "n_head": 5});
        assert_eq!(heads(given), Ok(Heads::sharing(30, 5, 6)));
        let refused = [json!({"hidden_size": 31}), json!({"n_head": 7})]
            .map(|config| heads(config).unwrap_err().to_string());
        insta::assert_snapshot!(refused.join("\n"), @r"
        key `hidden_size`: expected a multiple of n_head = 6, found 31
        key `n_embed` or `hidden_size`: expected a multiple of n_head = 7, found 24
        ");
    }

    #[test]
    fn heads_that_cannot_be_shared_out_are_refused() {
        let refused = [
            json!({"hidden_size": 29}),
            json!({"num_key_value_heads": 4}),
        ]
        .map(|config| heads(HeadWidth::Share, &config).unwrap_err());
        insta::assert_snapshot!(refused.join("\n"), @r"
        key `hidden_size`: expected a multiple of num_attention_heads = 6, found 29
        key `num_key_value_heads`: expected a divisor of num_attention_heads = 6, found 4
        ");
    }
}
