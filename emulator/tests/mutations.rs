//! Texts that are almost PTX: whatever they are, the answer is a module or an error that fits the text.
//!
//! The same seeds every time. `cargo xtask fuzz` goes on from here with coverage as its guide.

#[path = "common/mutate.rs"]
mod mutate;

use std::panic::catch_unwind;

use mutate::{CORPUS, Random, mutate};
use proptest::prelude::*;
use ptx_emulator::{Module, PtxErrorKind};

#[test]
fn every_text_of_the_corpus_is_decoded() {
    for text in CORPUS {
        if let Err(error) = Module::parse(text) {
            panic!("{error}\n{text}");
        }
    }
}

#[test]
fn mutated_texts_are_answered_without_a_panic() {
    let mut decoded = 0;
    let mut refused = 0;
    for seed in 0..60_000 {
        let random = &mut Random::new(seed);
        let text = mutate(CORPUS[random.below(CORPUS.len())], random);
        match catch_unwind(|| Module::parse(&text)) {
            Ok(Ok(_)) => decoded += 1,
            Ok(Err(error)) => {
                refused += 1;
                let lines = 1 + text.matches('\n').count() as u32;
                assert!(error.line <= lines, "seed {seed}: {error}\n{text}");
                assert!(error.to_string().len() < 2000, "seed {seed}: {error}");
                let is_a_question_of_size = matches!(error.kind, PtxErrorKind::Limit { .. });
                assert!(
                    error.line > 0 || is_a_question_of_size,
                    "seed {seed}: {error}"
                );
            }
            Err(_) => panic!("seed {seed}:\n{text}"),
        }
    }
    // The changes neither leave everything intact nor break everything at the first token.
    assert!(decoded > 1000 && refused > 1000, "{decoded} and {refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any text at all.
    #[test]
    fn arbitrary_texts_never_panic(text in "[ -~\n\u{e9}]{0,200}") {
        let _ = Module::parse(&text);
        let _ = Module::parse(&format!(".version 7.0\n.target sm_80\n.entry k() {{ {text} }}"));
    }
}
