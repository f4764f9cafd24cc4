//! CRC-32C of a message whose beginning changed, without reading its rest again.
//!
//! A CRC is linear: with `A` and `A'` of equal length, `crc(A'B) = crc(AB) ^ shift(crc(A) ^ crc(A'), len(B))`, where `shift`
//! multiplies by `x^(8 len(B))` modulo the polynomial. The powers `x^(2^k)` are computed by the compiler.

/// Castagnoli's polynomial, bits reversed: the coefficient of `x^0` is the highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `x^(2^k)` for every `k` that a length in bits of less than 2^40 can have.
const POWERS: [u32; 40] = powers();

/// The CRC of a message of which the first part changed from one with CRC `before` to one with CRC `after` and is followed by
/// `rest_bytes` bytes that did not change.
///
/// # Cost
/// About 0.5 us whatever the length; the bytes themselves are not needed.
#[must_use]
pub fn replace_beginning(crc: u32, before: u32, after: u32, rest_bytes: u32) -> u32 {
    crc ^ shift(before ^ after, rest_bytes)
}

fn shift(crc: u32, bytes: u32) -> u32 {
    let mut bits = u64::from(bytes) << 3;
    let mut product = crc;
    for power in POWERS {
        if bits == 0 {
            break;
        }
        if bits & 1 == 1 {
            product = multiply(power, product);
        }
        bits >>= 1;
    }
    product
}

/// The product of two polynomials over GF(2), modulo [`POLYNOMIAL`].
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 1 << 31;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        bit >>= 1;
        b = if b & 1 == 1 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
    }
    product
}

#[allow(clippy::indexing_slicing)] // bounds are the loop's, and the compiler runs it
const fn powers() -> [u32; 40] {
    let mut powers = [1 << 30; 40];
    let mut k = 1;
    while k < powers.len() {
        powers[k] = multiply(powers[k - 1], powers[k - 1]);
        k += 1;
    }
    powers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_beginning_gives_the_crc_of_the_whole_message() {
        for rest_bytes in [0usize, 1, 2, 3, 7, 8, 61, 255, 256, 4095, 65_537, 1_000_003] {
            let rest: Vec<u8> = (0..rest_bytes).map(|i| (i * 31 + i / 7) as u8).collect();
            let before = [b"once upon a time".as_slice(), &rest].concat();
            let after = [b"long, long ago..".as_slice(), &rest].concat();
            let crc = replace_beginning(
                crc32c::crc32c(&before),
                crc32c::crc32c(&before[..16]),
                crc32c::crc32c(&after[..16]),
                rest_bytes as u32,
            );
            assert_eq!(crc, crc32c::crc32c(&after), "{rest_bytes}");
        }
    }

    #[test]
    fn lengths_up_to_the_largest_batch_agree_with_the_crc_crate() {
        for bytes in [1u32 << 20, (1 << 28) + 12_345, (1 << 31) - 1, u32::MAX] {
            let expected = crc32c::crc32c_combine(0xdead_beef, 0, bytes as usize);
            assert_eq!(shift(0xdead_beef, bytes), expected, "{bytes}");
        }
    }
}
