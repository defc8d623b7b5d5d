//! A text as numbers, one per character.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use super::Result;

/// The last tenth of the text is held out.
const HELD_OUT: usize = 10;

/// A text. Its vocabulary is the set of its characters; a token is an index into the vocabulary.
pub struct Text {
    vocabulary: Vec<char>,
    tokens: Vec<usize>,
}

/// Sequences of equal length, one after the other.
pub struct Batch {
    /// Number of sequences.
    pub size: usize,
    /// What the model sees.
    pub tokens: Vec<usize>,
    /// What it should predict: at each position the token that comes next.
    pub targets: Vec<usize>,
}

impl Text {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Text> {
        let text =
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Text::new(&text))
    }

    /// Makes tokens of characters.
    pub fn new(text: &str) -> Text {
        let characters: BTreeSet<char> = text.chars().collect();
        let vocabulary: Vec<char> = characters.into_iter().collect();
        let index: HashMap<char, usize> = vocabulary.iter().copied().zip(0..).collect();
        let tokens = text.chars().map(|character| index[&character]).collect();
        Text { vocabulary, tokens }
    }

    /// Characters.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Different characters.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary.len()
    }

    /// Mean loss of the best guess that knows how often each character occurs and nothing else:
    /// `-Σ p ln p`, in nats per character.
    pub fn unigram_entropy(&self) -> f64 {
        let mut counts = vec![0.0; self.vocabulary()];
        self.tokens.iter().for_each(|&token| counts[token] += 1.0);
        let share = |count: f64| count / self.len() as f64;
        -counts
            .into_iter()
            .map(share)
            .map(|p| p * p.ln())
            .sum::<f64>()
    }

    /// `size` sequences from anywhere in the first nine tenths.
    pub fn training_batch(&self, size: usize, seqlen: usize, random: &mut fastrand::Rng) -> Batch {
        let end = self.held_out() - seqlen;
        self.batch(seqlen, (0..size).map(|_| random.usize(..end)).collect())
    }

    /// `size` sequences evenly spread over the last tenth.
    pub fn held_out_batch(&self, size: usize, seqlen: usize) -> Batch {
        let begin = self.held_out();
        let room = self.len() - begin - seqlen;
        self.batch(seqlen, (0..size).map(|i| begin + i * room / size).collect())
    }

    /// Tokens of `text`, whose characters must all be in the vocabulary.
    pub fn encode(&self, text: &str) -> Result<Vec<usize>> {
        let token = |character| {
            self.vocabulary.binary_search(&character).map_err(|_| {
                format!("{character:?} is not in the vocabulary: begin with text from the file")
                    .into()
            })
        };
        text.chars().map(token).collect()
    }

    /// The characters of `tokens`.
    pub fn decode(&self, tokens: &[usize]) -> String {
        tokens.iter().map(|&token| self.vocabulary[token]).collect()
    }

    /// Where the held-out part begins.
    fn held_out(&self) -> usize {
        self.len() - self.len() / HELD_OUT
    }

    fn batch(&self, seqlen: usize, begins: Vec<usize>) -> Batch {
        let sequences = |shift: usize| {
            let sequence = |&begin: &usize| &self.tokens[begin + shift..][..seqlen];
            begins.iter().flat_map(sequence).copied().collect()
        };
        Batch {
            size: begins.len(),
            tokens: sequences(0),
            targets: sequences(1),
        }
    }
}
