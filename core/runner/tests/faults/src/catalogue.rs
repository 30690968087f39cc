//! All mistakes that the zoo of the plugins does not have, and the model without one.

use Edit::{Answer, Leftover, Place, Question, Spec, Weights};
use Scope::{Cached, Everywhere};

use crate::{Edit, Fault, Scope, answers, leftovers, places, questions, spec, weights};

const fn fault(id: &'static str, description: &'static str, edits: &'static [Edit]) -> Fault {
    Fault {
        id,
        description,
        edits,
    }
}

/// No mistakes: a healthy implementation may be like this, and no check may be red.
pub const VARIATIONS: &[Fault] = &[
    fault(
        "sums-in-3-pieces",
        "products that are summed in 3 pieces",
        &[Question(|_, question| question.pieces = Some(3))],
    ),
    fault(
        "sums-in-5-pieces",
        "products that are summed in 5 pieces",
        &[Question(|_, question| question.pieces = Some(5))],
    ),
];

/// The model without a mistake first.
pub const FAULTS: &[Fault] = &[
    fault("none", "no mistake", &[]),
    // What the model is.
    fault(
        "exact-gelu",
        "GELU as the error function has it, where the checkpoint wants its tanh approximation",
        &[Spec(Everywhere, spec::exact_gelu)],
    ),
    fault(
        "drowned-bias",
        "one element of one bias that is off by 6e-6",
        &[Spec(Everywhere, spec::drowned_bias)],
    ),
    // What it makes of its inputs.
    fault(
        "mask-guessed",
        "a mask that is made of the tokens where none is given: token 0 is taken for padding",
        &[Question(questions::mask_guessed)],
    ),
    fault(
        "odd-key-forgotten",
        "attention that takes more than eight keys by twos, and forgets the last one of an odd number",
        &[Question(questions::odd_key_forgotten)],
    ),
    fault(
        "first-row-repeated",
        "a batch without padding that is the first row, repeated",
        &[Question(questions::first_row_repeated)],
    ),
    fault(
        "sums-by-turns",
        "sums of long inputs in another order each time, as threads have it that add to one place",
        &[Leftover(leftovers::sums_by_turns)],
    ),
    // Its losses.
    fault(
        "loss-of-the-token-itself",
        "losses of the token at each position, and not of the next one",
        &[
            Question(answers::log_probs_beside_losses),
            Answer(answers::loss_of_the_token_itself),
        ],
    ),
    fault(
        "padding-in-the-mean",
        "a mean loss that counts pairs with padding",
        &[Answer(answers::padding_in_the_mean)],
    ),
    // Its hooks.
    fault(
        "mid-before-attention",
        "a `hook_resid_mid` that shows the stream before attention",
        &[Place(places::mid_before_attention)],
    ),
    fault(
        "mlp-in-before-attention",
        "a `hook_mlp_in` that shows the stream before attention",
        &[Place(places::mlp_in_before_attention)],
    ),
    fault(
        "first-row-shown",
        "a `hook_mlp_out` that shows the first row of a batch for all of them",
        &[Answer(answers::first_row_shown)],
    ),
    fault(
        "fused-unless-watched",
        "sums in another order where a few hooks are looked at",
        &[Question(questions::fused_unless_watched)],
    ),
    fault(
        "edit-ignored",
        "one hook whose value may be edited without any effect",
        &[Question(questions::edit_ignored)],
    ),
    fault(
        "edit-in-place",
        "the end of one block and the beginning of the next as one tensor, so that an edit of this shows in that",
        &[
            Place(places::end_is_next_beginning),
            Question(questions::edit_in_place),
        ],
    ),
    fault(
        "scaling-stays",
        "a hook that scales, and stays for one more run",
        &[Leftover(leftovers::scaling_stays)],
    ),
    // Its gradients.
    fault(
        "gradient-before-softmax",
        "a gradient at `hook_pattern` that is the one before the softmax",
        &[Place(places::gradient_before_softmax)],
    ),
    // Its cache and its tokens.
    fault(
        "short-memory",
        "a cache that holds no more than 32 positions",
        &[Spec(Cached, spec::short_memory)],
    ),
    fault(
        "mask-lost-without-cache",
        "attention to padding where tokens are generated without a cache",
        &[Question(questions::mask_lost_without_cache)],
    ),
    fault(
        "stops-early",
        "a token fewer than it is asked for",
        &[Question(questions::stops_early)],
    ),
    fault(
        "seed-runs-on",
        "random numbers that go on from call to call, whatever the seed",
        &[Leftover(leftovers::seed_runs_on)],
    ),
    // Its weights.
    fault(
        "weight-edit-ignored",
        "edits of weights that go to a copy",
        &[Question(questions::weight_edit_ignored)],
    ),
    fault(
        "weight-edit-of-all-heads",
        "edits of one head's weight that are made in all heads",
        &[Question(questions::weight_edit_of_all_heads)],
    ),
    fault(
        "head-copied",
        "an unembedding that is a copy, where it is tied: an edit of the tensor does not arrive there",
        &[Question(questions::head_copied)],
    ),
    fault(
        "weight-restored-late",
        "an edited weight that is restored one run too late",
        &[Leftover(leftovers::weight_restored_late)],
    ),
    // Its processed weights.
    fault(
        "readers-left-uncentred",
        "MLPs that take a folded norm's gain, and keep the mean over what they read",
        &[Weights(weights::readers_left_uncentred)],
    ),
    fault(
        "mlp-centred-over-inputs",
        "outputs of MLPs that lose the mean over `d_mlp`, for that over `d_model`",
        &[Weights(weights::mlp_centred_over_inputs)],
    ),
    fault(
        "row-left-uncentred",
        "an embedding of which one row, of a token that no text has, is not centred",
        &[Weights(weights::row_left_uncentred)],
    ),
    fault(
        "row-of-nan",
        "an embedding of which such a row is NaN",
        &[Weights(weights::row_of_nan)],
    ),
    fault(
        "row-blown-up",
        "an embedding of which such a row is ten thousand times too large",
        &[Weights(weights::row_blown_up)],
    ),
    fault(
        "unembed-centred-over-inputs",
        "an unembedding that loses the mean over `d_model`, for that over the vocabulary",
        &[Weights(weights::unembed_centred_over_inputs)],
    ),
    fault(
        "one-step-alone",
        "one step of processing where norms are not folded, and none of the others",
        &[Question(questions::one_step_alone)],
    ),
    fault(
        "raw-unembed-centred",
        "an unembedding that is centred in place, and so in the raw model as well",
        &[Leftover(leftovers::raw_unembed_centred)],
    ),
];
