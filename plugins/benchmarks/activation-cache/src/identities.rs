//! What adds up in a model of this spec, and what cannot be said of it.

use tlbench_sdk::Processing;
use tlbench_sdk::spec::{
    AttentionSpec, Branch, LayerSpec, ModelSpec, NormKind, NormSpec, ResidualSource, Wiring,
};

/// The value at a hook, told by values at others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Identity {
    /// Where it fails, if it does.
    pub(crate) hook: String,
    pub(crate) claim: Claim,
}

/// What the value at the hook is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Claim {
    /// A sum of values at hooks, each times a factor.
    Sum(Vec<Summand>),
    /// Rows of probabilities.
    RowsSumToOne,
    /// The sum over the heads of the value at `heads`, and a bias.
    Heads {
        heads: String,
        bias: Option<String>,
        d_head: usize,
    },
    /// Normalized: times the scale it is `input`, without its mean if the norm centres.
    Normalized {
        scale: String,
        input: String,
        kind: NormKind,
    },
    /// The normalized value of a norm, with gain and bias.
    Finished {
        normalized: String,
        gain: Option<String>,
        bias: Option<String>,
    },
}

/// One summand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summand {
    pub(crate) hook: String,
    pub(crate) factor: f64,
}

/// Something that the spec makes unsayable.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LeftOut {
    pub(crate) what: String,
    pub(crate) why: &'static str,
}

/// All identities of a model, in execution order.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Identities {
    pub(crate) list: Vec<Identity>,
    pub(crate) left_out: Vec<LeftOut>,
}

impl Identities {
    pub(crate) fn of(spec: &ModelSpec, processing: &Processing) -> Self {
        let mut all = Self::default();
        let embedded = embedded(spec);
        if !spec.layers.is_empty() {
            all.push("blocks.0.hook_resid_pre", Claim::Sum(embedded.clone()));
        }
        let mut parts = Some(embedded);
        for (index, layer) in spec.layers.iter().enumerate() {
            let added = all.block(index, layer, processing);
            parts = parts.zip(added).map(|(mut parts, added)| {
                parts.extend(added);
                parts
            });
            if index + 1 < spec.layers.len() {
                let copy = vec![plain(format!("blocks.{index}.hook_resid_post"))];
                all.push(
                    format!("blocks.{}.hook_resid_pre", index + 1),
                    Claim::Sum(copy),
                );
            }
        }
        all.ending(spec, parts);
        all
    }

    fn push(&mut self, hook: impl Into<String>, claim: Claim) {
        let hook = hook.into();
        self.list.push(Identity { hook, claim });
    }

    fn leave_out(&mut self, what: impl Into<String>, why: &'static str) {
        let what = what.into();
        self.left_out.push(LeftOut { what, why });
    }

    /// What the block adds to the stream; `None` if that cannot be told.
    fn block(
        &mut self,
        index: usize,
        layer: &LayerSpec,
        processing: &Processing,
    ) -> Option<Vec<Summand>> {
        let block = format!("blocks.{index}");
        let [pre, mid, post] = ["hook_resid_pre", "hook_resid_mid", "hook_resid_post"]
            .map(|hook| format!("{block}.{hook}"));
        let attn = layer.attn.as_ref().map(|branch| {
            self.norm(&format!("{block}.ln1"), branch.input_norm(), &pre);
            self.attention(&block, branch, processing);
            contribution(format!("{block}.hook_attn_out"), branch)
        });
        let splits =
            layer.wiring == Wiring::Sequential && layer.attn.is_some() && layer.mlp.is_some();
        if let (true, Some(attn)) = (splits, &attn) {
            self.stream(&mid, &pre, std::slice::from_ref(attn));
        }
        let mlp = layer.mlp.as_ref().map(|branch| {
            let input = if splits { &mid } else { &pre };
            self.norm(&format!("{block}.ln2"), branch.input_norm(), input);
            contribution(format!("{block}.hook_mlp_out"), branch)
        });
        let added: Vec<_> = attn.into_iter().chain(mlp).collect();
        match (splits, added.last()) {
            (true, Some(mlp)) => self.stream(&post, &mid, std::slice::from_ref(mlp)),
            _ => self.stream(&post, &pre, &added),
        }
        added.into_iter().map(Result::ok).collect()
    }

    /// `after` is `before` and what is added, unless something is added in another way.
    fn stream(&mut self, after: &str, before: &str, added: &[Result<Summand, &'static str>]) {
        let summands = added.iter().cloned().collect::<Result<Vec<_>, _>>();
        match summands {
            Ok(summands) => {
                let all = std::iter::once(plain(before)).chain(summands);
                self.push(after, Claim::Sum(all.collect()));
            }
            Err(why) => self.leave_out(after, why),
        }
    }

    fn norm(&mut self, name: &str, norm: Option<&NormSpec>, input: &str) {
        if let Some(norm) = norm {
            let claim = Claim::Normalized {
                scale: format!("{name}.hook_scale"),
                input: input.to_owned(),
                kind: norm.kind,
            };
            self.push(format!("{name}.hook_normalized"), claim);
        }
    }

    fn attention(&mut self, block: &str, branch: &Branch<AttentionSpec>, processing: &Processing) {
        let pattern = format!("{block}.attn.hook_pattern");
        if branch.body.sinks.is_some() {
            self.leave_out(pattern, "a sink takes its share of each row");
        } else {
            self.push(pattern, Claim::RowsSumToOne);
        }
        let out = format!("{block}.hook_attn_out");
        if branch.output_norm.is_some() {
            self.leave_out(out, "a norm stands between the heads and it");
            return;
        }
        let bias = processing
            .has_output_bias(branch)
            .then(|| format!("{block}.attn.b_O"));
        let claim = Claim::Heads {
            heads: format!("{block}.attn.hook_result"),
            bias,
            d_head: branch.body.d_head,
        };
        self.push(out, claim);
    }

    /// The sum of all parts, and what the unembedding reads.
    fn ending(&mut self, spec: &ModelSpec, parts: Option<Vec<Summand>>) {
        let last = match (spec.layers.len().checked_sub(1), &parts) {
            (Some(last), _) => Some(format!("blocks.{last}.hook_resid_post")),
            (None, Some(parts)) if parts.len() == 1 => Some("hook_embed".to_owned()),
            (None, _) => None,
        };
        let Some(last) = last else {
            self.leave_out("unembed.hook_in", "no hook shows the stream without blocks");
            return;
        };
        if !spec.layers.is_empty() {
            match parts {
                Some(parts) => self.push(&last, Claim::Sum(parts)),
                None => self.leave_out(
                    format!("{last} as the sum of all branches"),
                    "some branch is not simply added",
                ),
            }
        }
        self.norm("ln_final", spec.final_norm.as_ref(), &last);
        let claim = match &spec.final_norm {
            None => Claim::Sum(vec![plain(last)]),
            Some(norm) => Claim::Finished {
                normalized: "ln_final.hook_normalized".into(),
                gain: norm.gain.as_ref().map(|_| "ln_final.w".into()),
                bias: norm.bias.as_ref().map(|_| "ln_final.b".into()),
            },
        };
        self.push("unembed.hook_in", claim);
    }
}

fn embedded(spec: &ModelSpec) -> Vec<Summand> {
    let positions = spec.embedding.positions.is_some();
    let positions = positions.then(|| plain("hook_pos_embed"));
    std::iter::once(plain("hook_embed"))
        .chain(positions)
        .collect()
}

fn plain(hook: impl Into<String>) -> Summand {
    Summand {
        hook: hook.into(),
        factor: 1.0,
    }
}

/// What the branch adds to the stream, or why that is not simply its output.
fn contribution<T>(hook: String, branch: &Branch<T>) -> Result<Summand, &'static str> {
    if branch.sum_norm.is_some() {
        Err("the sum goes through a norm")
    } else if branch.residual == ResidualSource::Input {
        Err("the output is added to what the norm gives, which no hook shows")
    } else {
        let factor = branch.output_scale;
        Ok(Summand { hook, factor })
    }
}
