//! Edits at hooks, each in a batch row of its own beside one without an edit.

use tlbench_sdk::{Action, Target, TraceRequest};

/// The row that is not edited; the others hold the same tokens.
pub(crate) const PLAIN_ROW: usize = 0;

/// An edit at one hook in one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowEdit<'a> {
    pub(crate) hook: &'a str,
    pub(crate) row: usize,
    /// How strong it is, as a share of the value's RMS.
    pub(crate) relative: f64,
}

/// The edits of `request`, if all are of this kind; `None` if one is not, or there is none.
pub(crate) fn row_edits(request: &TraceRequest) -> Option<Vec<RowEdit<'_>>> {
    let edits = request.interventions.iter().map(|edit| {
        let (Target::Hook(hook), Some(&[row])) = (&edit.target, edit.rows.as_deref()) else {
            return None;
        };
        let relative = match edit.action {
            Action::Perturb { relative, .. } => relative,
            _ => 1.0,
        };
        (row != PLAIN_ROW).then_some(RowEdit {
            hook,
            row,
            relative,
        })
    });
    edits
        .collect::<Option<Vec<_>>>()
        .filter(|edits| !edits.is_empty())
}
