//! How many values a JSON text has, counted before any of them is made: in memory each takes many times the two bytes
//! that it can be in a text.

/// Values of a JSON text, or a few more: each is the whole, or follows a bracket, brace or comma.
pub fn values(text: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (1usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' | b',' if !quoted => count = count.saturating_add(1),
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_without_what_stands_in_strings() {
        for (text, expected) in [
            ("1", 1),
            ("[]", 2),
            ("[1,2,3]", 4),
            (r#"{"a":[{},{}]}"#, 6),
            (r#"["a,[{","\\",",\"["]"#, 4),
        ] {
            assert_eq!(values(text.as_bytes()), expected, "{text}");
        }
    }
}
