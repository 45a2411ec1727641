//! What a secret looks like in the encodings that can be searched for as they stand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use super::fold;

/// Patterns of a secret, each byte in its class: itself, hexadecimal, and base64 at its three
/// alignments.
pub fn of(secret: &[u8]) -> [Zeroizing<Vec<u8>>; 5] {
    let plain = Zeroizing::new(secret.to_vec());
    let [first, second, third] = [0, 1, 2].map(|before| base64(secret, before));
    [plain, hexadecimal(secret), first, second, third].map(|mut pattern| {
        pattern.iter_mut().for_each(|byte| *byte = fold(*byte));
        pattern
    })
}

fn hexadecimal(secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(secret.len() * 2));
    for byte in secret {
        text.extend([byte >> 4, byte & 15].map(|half| match half {
            0..=9 => b'0' + half,
            _ => b'a' + half - 10,
        }));
    }
    text
}

/// The characters that a secret makes when so many bytes stand before it in what is encoded: those
/// that hold bits of the secret only.
fn base64(secret: &[u8], before: usize) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(before + secret.len()));
    plain.resize(before, 0);
    plain.extend_from_slice(secret);
    let mut text = Zeroizing::new(vec![0; plain.len().div_ceil(3) * 4]);
    let written = STANDARD_NO_PAD.encode_slice(&*plain, &mut text).unwrap_or(0);
    let own = (8 * before).div_ceil(6)..(8 * plain.len() / 6).min(written);
    Zeroizing::new(text.get(own).unwrap_or_default().to_vec())
}
