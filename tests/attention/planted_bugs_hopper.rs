//! As `planted_bugs`, for the kernels of sm_90a, whose warpgroups have roles: what they owe each other, left out or
//! miscounted at one place of the text after the other, is found at every place, by a fault, a sanitizer or the rule.

mod mistakes;
mod redundant;
mod victim;

use abi::KernelVariant;
use victim::Victim;

/// Plants every mistake at every place, and holds the places where nothing is found against those that are named.
fn assert_found_everywhere(entry: &str) {
    let victim = Victim::new(entry);
    let limit = 4 * victim.instructions_of_clean_run();
    let own = match victim.kernel.variant {
        KernelVariant::HopperForward(_) => mistakes::FORWARD,
        _ => mistakes::BACKWARD,
    };
    let mut wrong = Vec::new();
    for mistake in mistakes::EVERYWHERE.iter().chain(own) {
        let mut places = 0;
        for (nth, ptx) in mistake.planted(victim.kernel.ptx).enumerate() {
            let found = victim.find(&ptx, Some(limit));
            if found.is_none() != redundant::contains(entry, mistake.name, nth) {
                wrong.push(format!("{}, place {nth}: {found:?}", mistake.name));
            }
            places += 1;
        }
        assert!(places > 0, "{entry} has no place for: {}", mistake.name);
    }
    assert!(wrong.is_empty(), "{entry}: {wrong:#?}");
}

#[test]
fn mistakes_in_the_forward_kernel_for_head_dim_64_are_found() {
    assert_found_everywhere("flash_fwd_sm90_bf16_hdim64");
}

#[test]
fn mistakes_in_the_forward_kernel_for_head_dim_128_are_found() {
    assert_found_everywhere("flash_fwd_sm90_bf16_hdim128");
}

#[test]
fn mistakes_in_the_backward_kernel_for_head_dim_64_are_found() {
    assert_found_everywhere("flash_bwd_sm90_bf16_hdim64");
}

#[test]
fn mistakes_in_the_backward_kernel_for_head_dim_96_are_found() {
    assert_found_everywhere("flash_bwd_sm90_bf16_hdim96");
}

#[test]
fn mistakes_in_the_backward_kernel_for_head_dim_128_are_found() {
    assert_found_everywhere("flash_bwd_sm90_bf16_hdim128");
}

#[test]
fn mistakes_in_the_backward_kernel_whose_warpgroups_share_columns_are_found() {
    assert_found_everywhere("flash_bwd_sm90_bf16_hdim256");
}
