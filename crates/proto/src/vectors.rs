//! Test vectors: recorded and hand-made bytes, written in hexadecimal.

/// The bytes of a hexadecimal string; white space is for the reader.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|char| !char.is_whitespace())
        .map(|char| char.to_digit(16).expect("a vector is hexadecimal") as u8)
        .collect();
    assert!(digits.len().is_multiple_of(2), "a byte is two digits");
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
