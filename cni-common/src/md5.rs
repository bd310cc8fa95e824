//! MD5 (RFC 1321), for addresses that others derive with it. It protects nothing.

/// The digest.
pub fn digest(message: &[u8]) -> [u8; 16] {
    /// RFC 1321, 3.4: how far each step of a round turns.
    const TURNS: [[u32; 4]; 4] = [
        [7, 12, 17, 22],
        [5, 9, 14, 20],
        [4, 11, 16, 23],
        [6, 10, 15, 21],
    ];
    let mut padded = message.to_vec();
    padded.push(0x80);
    let length = padded.len().next_multiple_of(64);
    let room = if length.saturating_sub(padded.len()) < 8 {
        64
    } else {
        0
    };
    padded.resize(length + room - 8, 0);
    let bits = u64::try_from(message.len()).unwrap_or(0).wrapping_mul(8);
    padded.extend(bits.to_le_bytes());
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let words: Vec<u32> = block
            .chunks_exact(4)
            .map(|word| word.try_into().map_or(0, u32::from_le_bytes))
            .collect();
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64_usize {
            let (mixed, place) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((b & d) | (c & !d), step * 5 + 1),
                2 => (b ^ c ^ d, step * 3 + 5),
                _ => (c ^ (b | !d), step * 7),
            };
            let word = words.get(place % 16).copied().unwrap_or(0);
            let turn = TURNS.get(step / 16).and_then(|round| round.get(step % 4));
            let sum = a
                .wrapping_add(mixed)
                .wrapping_add(sine(step))
                .wrapping_add(word);
            let turned = sum.rotate_left(turn.copied().unwrap_or(0));
            (a, d, c, b) = (d, c, b, b.wrapping_add(turned));
        }
        for (word, change) in state.iter_mut().zip([a, b, c, d]) {
            *word = word.wrapping_add(change);
        }
    }
    let mut digest = [0; 16];
    for (byte, value) in digest
        .iter_mut()
        .zip(state.iter().flat_map(|word| word.to_le_bytes()))
    {
        *byte = value;
    }
    digest
}

/// RFC 1321, 3.4: element `i` of the table is the integer part of 4294967296 times abs(sin(i)).
fn sine(step: usize) -> u32 {
    let angle = u32::try_from(step).map_or(0.0, |step| f64::from(step) + 1.0);
    let scaled = angle.sin().abs() * 4_294_967_296.0;
    // Between 0 and 2^32, so its bits hold it.
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "there is no other way from a float to an integer"
    )]
    {
        scaled as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(message: &str) -> String {
        format!("{:032x}", u128::from_be_bytes(digest(message.as_bytes())))
    }

    #[test]
    fn the_test_suite_of_rfc_1321() {
        // Appendix A.5.
        for (message, expected) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                "d174ab98d277d9f5a5611c2c9f419d9f",
            ),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            assert_eq!(hex(message), expected, "{message:?}");
        }
    }

    #[test]
    fn every_length_of_padding() {
        // printf %055d 0 | md5sum, and so on (coreutils 9.1).
        for (length, expected) in [
            (55, "d7fe636bd28e2ee2ba4d6c5898318699"),
            (56, "ce992c2ad906967c63c3f9ab0c2294a9"),
            (64, "10eab6008d5642cf42abd2aa41f847cb"),
        ] {
            assert_eq!(hex(&"0".repeat(length)), expected, "{length}");
        }
    }
}
