//! What holds for all that an interpreter's channel can say: a target of the fuzzer (tests/fuzz), and of an
//! ordinary test.

use super::line::{Lines, Said};

/// The bytes of a channel. Its lines are the same however they arrive; what a line says is a word, or none.
pub fn channel(bytes: &[u8]) {
    let (size, bytes) = bytes.split_first().map_or((1, bytes), |(size, rest)| (*size, rest));
    let whole = lines(bytes, bytes.len().max(1));
    assert_eq!(whole, lines(bytes, usize::from(size) % 64 + 1));
    assert_eq!(whole.len(), bytes.iter().filter(|byte| **byte == b'\n').count());
    for line in &whole {
        assert!(!line.contains(&b'\n'));
        match Said::read(line) {
            Ok(Said::State { nonce, .. }) => assert!(nonce.len() <= line.len()),
            Ok(Said::Done(done)) => assert!(done.results.len() <= line.len()),
            Err(broken) => assert!(broken.0.is_ascii()),
        }
    }
}

fn lines(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (mut lines, mut found) = (Lines::default(), Vec::new());
    for piece in bytes.chunks(size) {
        lines.put(piece);
        while let Ok(Some(line)) = lines.next() {
            found.push(line);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damaged_seeds;

    #[test]
    fn no_bytes_of_a_channel_are_words_that_were_not_said() {
        damaged_seeds::hold("cell_channel", 5_000, channel);
    }
}
