//! What a secret looks like in the encodings that can be searched for as they stand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use super::fold;

/// What stands between the bytes in hexadecimal: nothing, a space (whose class a hyphen is in as well), a colon.
const BETWEEN: [&[u8]; 3] = [b"", b" ", b":"];

/// Patterns of a secret, each byte in its class: itself, UTF-16, hexadecimal, and base64 at its three
/// alignments. UTF-16 and hexadecimal begin with the bytes that the others begin with, so that no byte more is
/// looked at where there is no secret.
pub fn of(secret: &[u8]) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
    let plain = [Zeroizing::new(secret.to_vec()), utf_16(secret)];
    let hexadecimal = BETWEEN.map(|between| hexadecimal(secret, between));
    let base64 = [0, 1, 2].map(|before| base64(secret, before));
    plain.into_iter().chain(hexadecimal).chain(base64).map(|mut pattern| {
        pattern.iter_mut().for_each(|byte| *byte = fold(*byte));
        pattern
    })
}

/// The secret's characters with a zero between each two, as both orders of the bytes have them.
fn utf_16(secret: &[u8]) -> Zeroizing<Vec<u8>> {
    joined(secret.iter().map(|byte| [*byte]), b"\0", secret.len() * 2)
}

fn hexadecimal(secret: &[u8], between: &[u8]) -> Zeroizing<Vec<u8>> {
    let digit = |half| match half {
        0..=9 => b'0' + half,
        _ => b'a' + half - 10,
    };
    let pairs = secret.iter().map(|byte| [byte >> 4, byte & 15].map(digit));
    joined(pairs, between, secret.len() * (2 + between.len()))
}

/// Pieces with something between each two, of `most` bytes at the most, so that growing leaves no copy behind.
fn joined<const N: usize>(
    pieces: impl Iterator<Item = [u8; N]>,
    between: &[u8],
    most: usize,
) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(most));
    for piece in pieces {
        if !text.is_empty() {
            text.extend_from_slice(between);
        }
        text.extend_from_slice(&piece);
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
