//! Bytes as a hex dump.

use std::fmt::Write;

/// Sixteen bytes a line, with their offset and the characters that they are.
pub fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, line) in bytes.chunks(16).enumerate() {
        let _ = write!(text, "{:08x} ", number * 16);
        for at in 0..16 {
            if at == 8 {
                text.push(' ');
            }
            match line.get(at) {
                Some(byte) => {
                    let _ = write!(text, " {byte:02x}");
                }
                None => text.push_str("   "),
            }
        }
        text.push_str("  |");
        text.extend(
            line.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }),
        );
        text.push_str("|\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stand_beside_their_characters() {
        let dumped = dump(b"\x00\x1b[31mABCDEFGHIJKL\xff");
        let expected = "00000000  00 1b 5b 33 31 6d 41 42  43 44 45 46 47 48 49 4a  |..[31mABCDEFGHIJ|\n\
                        00000010  4b 4c ff                                          |KL.|\n";
        assert_eq!(dumped, expected);
        assert_eq!(dump(b""), "");
    }
}
