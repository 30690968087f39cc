//! What the value at a hook can be.

use tlbench_sdk::compare::{Axes, Region};
use tlbench_sdk::spec::{Mask, ModelSpec};
use tlbench_sdk::{HookPoint, Tensor, layer_of};

/// Which keys a query sees, in each layer.
pub(crate) struct Visible<'a> {
    spec: &'a ModelSpec,
    region: &'a Region,
}

impl<'a> Visible<'a> {
    pub(crate) fn new(spec: &'a ModelSpec, region: &'a Region) -> Self {
        Self { spec, region }
    }

    pub(crate) fn region(&self) -> &Region {
        self.region
    }

    /// What the attention that `hook` belongs to masks; `None` where there is none.
    fn mask(&self, hook: &str) -> Option<Mask> {
        let layer = self.spec.layers.get(layer_of(hook)?)?;
        layer.attn.as_ref().map(|branch| branch.body.mask)
    }

    fn sees(&self, mask: Mask, row: usize, query: usize, key: usize) -> bool {
        let padding = self.region.left_padding(row);
        mask.sees_behind(padding, query, key) && self.region.is_real(row, key)
    }

    /// Whether the query at `query` of `row` sees any of `keys` keys in the attention that `hook` belongs to.
    pub(crate) fn sees_any(&self, hook: &str, row: usize, query: usize, keys: usize) -> bool {
        let mask = self.mask(hook);
        mask.is_some_and(|mask| (0..keys).any(|key| self.sees(mask, row, query, key)))
    }
}

/// What is wrong with the value at `hook` on an input of the shape `[batch, pos]`, by its shape or by what is not finite.
pub(crate) fn complaint(
    hook: &HookPoint,
    value: Option<&Tensor>,
    [batch, pos]: [usize; 2],
    visible: &Visible<'_>,
) -> Option<String> {
    let name = &hook.name;
    let Some(value) = value else {
        return Some(format!("{name}: not shown"));
    };
    let expected = hook.sizes(batch, pos);
    if value.shape() != expected {
        let (shape, found) = (hook.shape_text(), value.shape());
        return Some(format!(
            "{name}: shape {found:?} where {shape} is {expected:?}"
        ));
    }
    let strange = strange_elements(hook, value, visible);
    (strange > 0).then(|| {
        format!(
            "{name}: {strange} of {} elements are not finite",
            value.len()
        )
    })
}

/// Elements that are not finite and have to be: all where there is a token, but scores of what the mask hides.
fn strange_elements(hook: &HookPoint, value: &Tensor, visible: &Visible<'_>) -> usize {
    let shape = value.shape();
    let Axes::Positions { pos: axis } = Axes::of_hook(hook) else {
        let values = value.to_f64_vec();
        return values.iter().filter(|value| !value.is_finite()).count();
    };
    let width: usize = shape[axis + 1..].iter().product();
    let per_row: usize = shape[1..].iter().product();
    let mask = visible.mask(&hook.name);
    let mask = mask.filter(|_| hook.name.ends_with(".hook_attn_scores"));
    let values = value.to_f64_vec();
    let is_strange = |(index, value): (usize, &f64)| {
        let (row, query) = (index / per_row, index / width % shape[axis]);
        let may_be_masked = |mask: Mask| !visible.sees(mask, row, query, index % width);
        let is_masked = *value == f64::NEG_INFINITY && mask.is_some_and(may_be_masked);
        visible.region.is_real(row, query) && !value.is_finite() && !is_masked
    };
    let elements = values.iter().enumerate();
    elements.filter(|element| is_strange(*element)).count()
}
