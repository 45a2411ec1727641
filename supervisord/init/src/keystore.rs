//! Java's store of trusted certificates, which no variable leads away from quietly: its format (JKS),
//! as far as it takes to add one certificate. Entries that are there are copied as they are.

use crate::digest;

/// What a store begins with, in the one version there has been since 1998.
const BEGINNING: [u8; 8] = [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2];

/// An entry that is a certificate, not a key.
const CERTIFICATE: u32 = 2;

/// What the certificate is called in the store.
const ALIAS: &str = "supervisord-session-authority";

/// The password of every store of authorities that Java brings. It hides nothing; programs that give
/// it have the digest compared.
const PASSWORD: &str = "changeit";

/// Between the password and the store in what is digested; nobody chose it to be understood.
const SALT: &[u8] = b"Mighty Aphrodite";

/// Bytes of the digest behind the entries.
const DIGEST: usize = 20;

/// Whether a file is such a store.
pub fn is_one(file: &[u8]) -> bool {
    file.starts_with(&BEGINNING) && file.len() >= BEGINNING.len() + 4 + DIGEST
}

/// The store with one certificate more, in DER. `None` if it isn't one.
pub fn with(store: &[u8], certificate: &[u8]) -> Option<Vec<u8>> {
    let rest = store.strip_prefix(&BEGINNING)?;
    let (count, rest) = rest.split_first_chunk()?;
    let entries = rest.get(..rest.len().checked_sub(DIGEST)?)?;
    let count = u32::from_be_bytes(*count).checked_add(1)?;
    let mut all = Vec::with_capacity(store.len() + certificate.len() + 64);
    all.extend(BEGINNING);
    all.extend(count.to_be_bytes());
    all.extend(entries);
    all.extend(CERTIFICATE.to_be_bytes());
    short_text(&mut all, ALIAS)?;
    all.extend([0; 8]); // when it was added, which nobody asks
    short_text(&mut all, "X.509")?;
    all.extend(u32::try_from(certificate.len()).ok()?.to_be_bytes());
    all.extend(certificate);
    let password = PASSWORD.encode_utf16().flat_map(u16::to_be_bytes);
    let digested: Vec<_> =
        password.chain(SALT.iter().copied()).chain(all.iter().copied()).collect();
    all.extend(digest::sha1(&digested));
    Some(all)
}

/// The certificate in a PEM file of one, in DER.
pub fn der(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let mut der = Vec::with_capacity(body.len());
    let (mut bits, mut held) = (0u32, 0);
    for letter in body.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        bits = bits << 6 | u32::from(six_bits(letter)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            der.push((bits >> held) as u8); // the eight that are complete
            bits &= (1 << held) - 1;
        }
    }
    Some(der)
}

fn six_bits(letter: u8) -> Option<u8> {
    Some(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// A text with its length before it in two bytes.
fn short_text(to: &mut Vec<u8>, text: &str) -> Option<()> {
    to.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
    to.extend(text.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store without entries, with the digest that keytool writes.
    const EMPTY: [u8; 32] = [
        0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 0, 0xe2, 0x68, 0x6e, 0x45, 0xfb, 0x43, 0xdf,
        0xa4, 0xd9, 0x92, 0xdd, 0x41, 0xce, 0xb6, 0xb2, 0x1c, 0x63, 0x30, 0xd7, 0x92,
    ];

    #[test]
    fn one_certificate_more_is_in_a_store() {
        assert!(is_one(&EMPTY));
        let one = with(&EMPTY, b"first").unwrap();
        let two = with(&one, b"second").unwrap();
        assert_eq!(one[8..12], [0, 0, 0, 1]);
        assert_eq!(two[8..12], [0, 0, 0, 2]);
        assert_eq!(two[12..one.len() - DIGEST], one[12..one.len() - DIGEST]);
        assert!(two[..two.len() - DIGEST].ends_with(b"\0\x05X.509\0\0\0\x06second"));
    }

    #[test]
    fn what_is_no_store_gets_none() {
        for strange in [&b""[..], b"\xfe\xed\xfe\xed", &EMPTY[..31], &[0x30; 64]] {
            assert!(!is_one(strange));
            assert!(with(strange, b"x").is_none());
        }
    }

    #[test]
    fn a_certificate_s_bytes_are_read_from_its_text() {
        let pem = b"-----BEGIN CERTIFICATE-----\nAP+A\nAQID\nBA==\n-----END CERTIFICATE-----\n";
        assert_eq!(der(pem).unwrap(), [0, 0xff, 0x80, 1, 2, 3, 4]);
        assert!(der(b"-----BEGIN CERTIFICATE-----\nA?\n-----END CERTIFICATE-----").is_none());
        assert!(der(b"AAAA").is_none());
    }
}
