//! Variable-length integers of Kafka's records and flexible messages: base 128, least significant group first, zigzag where signed.

/// Reads an unsigned varint of at most 32 bits and moves `input` past it.
///
/// `None`: the bytes end within it, or it is longer than 5 bytes or than 32 bits.
#[inline]
pub fn take_u32(input: &mut &[u8]) -> Option<u32> {
    let (&first, rest) = input.split_first()?;
    if first < 0x80 {
        *input = rest;
        return Some(u32::from(first));
    }
    let value = take_u64_within(input, 5)?;
    u32::try_from(value).ok()
}

/// Reads an unsigned varint of at most 64 bits and moves `input` past it; `None` as [`take_u32`].
#[inline]
pub fn take_u64(input: &mut &[u8]) -> Option<u64> {
    take_u64_within(input, 10)
}

/// Reads a zigzag varint of 32 bits.
#[inline]
pub fn take_i32(input: &mut &[u8]) -> Option<i32> {
    take_u32(input).map(|raw| (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads a zigzag varint of 64 bits.
#[inline]
pub fn take_i64(input: &mut &[u8]) -> Option<i64> {
    take_u64(input).map(|raw| (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

fn take_u64_within(input: &mut &[u8], bytes_max: u32) -> Option<u64> {
    let mut value = 0u64;
    for (place, &byte) in (0..bytes_max).zip(input.iter()) {
        let group = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit only.
        if place == 9 && group > 1 {
            return None;
        }
        value |= group << (7 * place);
        if byte < 0x80 {
            *input = input.get(place as usize + 1..)?;
            return Some(value);
        }
    }
    None
}

/// Writes an unsigned varint.
#[inline]
pub fn put_u32(output: &mut Vec<u8>, value: u32) {
    put_u64(output, u64::from(value));
}

/// Writes an unsigned varint of 64 bits.
#[inline]
pub fn put_u64(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    output.push((value & 0x7f) as u8);
}

/// Writes a zigzag varint of 32 bits.
#[inline]
pub fn put_i32(output: &mut Vec<u8>, value: i32) {
    put_u32(output, ((value << 1) ^ (value >> 31)).cast_unsigned());
}

/// Writes a zigzag varint of 64 bits.
#[inline]
pub fn put_i64(output: &mut Vec<u8>, value: i64) {
    put_u64(output, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Bytes that [`put_u32`] writes.
#[must_use]
pub const fn size_u32(value: u32) -> usize {
    ((38 - (value | 1).leading_zeros()) / 7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_as_written() {
        for shift in 0..64 {
            for value in [0u64, 1, 2, u64::MAX >> shift, 1 << shift, (1u64 << shift).wrapping_sub(1)] {
                let mut bytes = Vec::new();
                put_u64(&mut bytes, value);
                assert_eq!(take_u64(&mut bytes.as_slice()), Some(value));
                let signed = value as i64;
                bytes.clear();
                put_i64(&mut bytes, signed);
                assert_eq!(take_i64(&mut bytes.as_slice()), Some(signed));
                bytes.clear();
                put_i32(&mut bytes, value as i32);
                assert_eq!(take_i32(&mut bytes.as_slice()), Some(value as i32));
                bytes.clear();
                put_u32(&mut bytes, value as u32);
                assert_eq!(take_u32(&mut bytes.as_slice()), Some(value as u32));
                assert_eq!(bytes.len(), size_u32(value as u32), "{value}");
            }
        }
    }

    #[test]
    fn truncated_and_overlong_numbers_are_refused() {
        assert_eq!(take_u32(&mut [].as_slice()), None);
        assert_eq!(take_u32(&mut [0x80].as_slice()), None);
        assert_eq!(take_u32(&mut [0xff, 0xff, 0xff, 0xff, 0x0f].as_slice()), Some(u32::MAX));
        assert_eq!(take_u32(&mut [0xff, 0xff, 0xff, 0xff, 0x1f].as_slice()), None);
        assert_eq!(take_u32(&mut [0x80, 0x80, 0x80, 0x80, 0x80, 0].as_slice()), None);
        assert_eq!(take_u64(&mut [[0xff; 9].as_slice(), &[1]].concat().as_slice()), Some(u64::MAX));
        assert_eq!(take_u64(&mut [[0xff; 9].as_slice(), &[2]].concat().as_slice()), None);
        assert_eq!(take_u64(&mut [[0x80; 10].as_slice(), &[0]].concat().as_slice()), None);
    }

    #[test]
    fn a_number_takes_its_own_bytes_only() {
        let mut input = [0xac, 0x02, 0x07].as_slice();
        assert_eq!(take_u32(&mut input), Some(300));
        assert_eq!(input, [0x07]);
    }
}
