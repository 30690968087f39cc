//! Slices in words.

use super::Subject;
use super::axis::{Axis, Kind};
use super::profile::{Profile, Wrong};
use crate::spec::{AttentionSpec, Mask, PositionSpec, RotaryScaling};

/// So many are listed one by one.
const LISTED: usize = 4;

/// What the slices along `axis` that are wrong have in common, if that says something.
pub(super) fn phrase(
    axis: &Axis,
    profile: &Profile,
    floor: f64,
    subject: &Subject<'_>,
) -> Option<String> {
    match (profile.wrong(floor), axis.kind) {
        (Wrong::These { wrong, counted }, kind) => Some(match kind {
            Kind::Row => format!("only in {} of {}", listed("row", &wrong), counted.len()),
            Kind::Position => positions(&wrong, &counted, subject),
            Kind::Distance { ahead } => distances(&wrong, &counted, ahead),
            Kind::Head => heads(&wrong, subject),
            Kind::KvHead => format!("only in {}", listed("KV head", &wrong)),
            Kind::Expert => format!("only at {}", listed("expert", &wrong)),
            Kind::Token => some("token", &wrong, &counted),
            Kind::Channel => channels(&wrong, &counted, subject),
        }),
        (Wrong::All | Wrong::Unclear, Kind::Position) => trend(profile).map(str::to_owned),
        (Wrong::All | Wrong::Unclear, _) => None,
    }
}

fn positions(wrong: &[usize], counted: &[usize], subject: &Subject<'_>) -> String {
    let (first, last) = (wrong[0], wrong[wrong.len() - 1]);
    if counted.ends_with(wrong) {
        let attention = subject.layer.and_then(|layer| layer.attn.as_ref());
        let bound = attention.and_then(|branch| bound(&branch.body, first));
        let because = bound.map_or_else(String::new, |bound| format!(" ({bound})"));
        return format!("only from position {first} on{because}");
    }
    if counted.starts_with(wrong) && wrong.len() > 1 {
        return format!("only up to position {last}");
    }
    some("position", wrong, counted)
}

/// What of the spec begins to matter at `position`, or next to it: which of the two is one too many is the question.
fn bound(attention: &AttentionSpec, position: usize) -> Option<String> {
    let is_near = |bound: usize| bound > 1 && bound.abs_diff(position) <= 1;
    match attention.mask {
        Mask::Band {
            back: Some(back), ..
        } if is_near(back + 1) => {
            return Some(format!("the window of this block is {}", back + 1));
        }
        Mask::Chunked { size } if is_near(size) => {
            return Some(format!("the chunks of this block have {size}"));
        }
        Mask::Band { .. } | Mask::Chunked { .. } => {}
    }
    let PositionSpec::Rotary(rotary) = &attention.position else {
        return None;
    };
    match rotary.scaling {
        RotaryScaling::Dynamic { original_n_ctx, .. }
        | RotaryScaling::Yarn { original_n_ctx, .. }
        | RotaryScaling::LongRope { original_n_ctx, .. }
        | RotaryScaling::Llama3 { original_n_ctx, .. }
            if is_near(original_n_ctx) =>
        {
            Some(format!("the original context is {original_n_ctx}"))
        }
        _ => None,
    }
}

/// Slice `ahead` has keys at the query's own position.
fn distances(wrong: &[usize], counted: &[usize], ahead: usize) -> String {
    let text = |slice: usize| match slice.cmp(&ahead) {
        std::cmp::Ordering::Less => format!("{} ahead of the query", ahead - slice),
        std::cmp::Ordering::Equal => "at the query itself".to_owned(),
        std::cmp::Ordering::Greater => format!("{} back", slice - ahead),
    };
    let (first, last) = (wrong[0], wrong[wrong.len() - 1]);
    match wrong {
        [one] => format!("only for keys {}", text(*one)),
        _ if counted.ends_with(wrong) && first > ahead => {
            format!("only for keys {} or more back", first - ahead)
        }
        _ if counted.starts_with(wrong) && last < ahead => {
            "only for keys ahead of the query".to_owned()
        }
        _ if is_range(wrong) && first >= ahead => {
            format!("only for keys {} to {} back", first - ahead, last - ahead)
        }
        _ => format!("only at {} of {} distances", wrong.len(), counted.len()),
    }
}

fn heads(wrong: &[usize], subject: &Subject<'_>) -> String {
    let told = format!("only in {}", listed("head", wrong));
    let Some(branch) = subject.layer.and_then(|layer| layer.attn.as_ref()) else {
        return told;
    };
    match kv_heads(wrong, &branch.body) {
        Some(groups) => format!("{told} ({})", listed("KV head", &groups)),
        None => told,
    }
}

/// The key and value heads whose query heads are exactly `wrong`, where each serves several.
fn kv_heads(wrong: &[usize], attention: &AttentionSpec) -> Option<Vec<usize>> {
    let per_group = attention.n_heads.checked_div(attention.n_kv_heads)?;
    if per_group < 2 {
        return None;
    }
    let mut groups: Vec<usize> = wrong.iter().map(|head| head / per_group).collect();
    groups.dedup();
    (groups.len() * per_group == wrong.len()).then_some(groups)
}

fn channels(wrong: &[usize], counted: &[usize], subject: &Subject<'_>) -> String {
    let all = counted.len();
    if let Some(rotated) = rotated_channels(subject).filter(|&rotated| rotated < all) {
        if *wrong == counted[..rotated] {
            return "only in the channels that are rotated".to_owned();
        }
        if *wrong == counted[rotated..] {
            return "only in the channels that are not rotated".to_owned();
        }
    }
    if all.is_multiple_of(2) && wrong.len() > 1 {
        if *wrong == counted[..all / 2] {
            return "only in the first half of the channels".to_owned();
        }
        if *wrong == counted[all / 2..] {
            return "only in the second half of the channels".to_owned();
        }
    }
    some("channel", wrong, counted)
}

fn rotated_channels(subject: &Subject<'_>) -> Option<usize> {
    let branch = subject.layer?.attn.as_ref()?;
    match &branch.body.position {
        PositionSpec::Rotary(rotary) if subject.is_rotated => Some(rotary.dim),
        _ => None,
    }
}

/// Those that are wrong by number, if they are few or in a row.
fn some(what: &str, wrong: &[usize], counted: &[usize]) -> String {
    if wrong.len() <= LISTED || is_range(wrong) {
        format!("only at {}", listed(what, wrong))
    } else {
        format!("only at {} of {} {what}s", wrong.len(), counted.len())
    }
}

/// `head 2`, `heads 2, 5`, `heads 2 to 6`.
pub(super) fn listed(what: &str, numbers: &[usize]) -> String {
    match numbers {
        [one] => format!("{what} {one}"),
        [first, .., last] if is_range(numbers) && numbers.len() > 2 => {
            format!("{what}s {first} to {last}")
        }
        _ => {
            let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
            format!("{what}s {}", numbers.join(", "))
        }
    }
}

fn is_range(numbers: &[usize]) -> bool {
    numbers.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

/// Whether the error grows or shrinks with the position: in order, and by much.
fn trend(profile: &Profile) -> Option<&'static str> {
    const FEWEST: usize = 6;
    let errors: Vec<f64> = profile.counted().map(|(_, error)| error).collect();
    if errors.len() < FEWEST || errors.iter().any(|error| !error.is_finite()) {
        return None;
    }
    let third = errors.len() / 3;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (early, late) = (
        mean(&errors[..third]),
        mean(&errors[errors.len() - third..]),
    );
    let order = rank_correlation(&errors);
    if order > 0.8 && late > 3.0 * early {
        Some("grows with the position")
    } else if order < -0.8 && early > 3.0 * late {
        Some("shrinks with the position")
    } else {
        None
    }
}

/// Spearman's, of the values and their order.
fn rank_correlation(values: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let squares: f64 = order
        .iter()
        .enumerate()
        .map(|(rank, &place)| (rank as f64 - place as f64).powi(2))
        .sum();
    let n = values.len() as f64;
    1.0 - 6.0 * squares / (n * (n * n - 1.0))
}
