//! Big-endian numbers at a place in bytes; `None` where the bytes end before.

/// The `N` bytes at `at`.
pub(super) fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

pub(super) fn i16(from: &[u8], at: usize) -> Option<i16> {
    bytes(from, at).map(i16::from_be_bytes)
}

pub(super) fn i32(from: &[u8], at: usize) -> Option<i32> {
    bytes(from, at).map(i32::from_be_bytes)
}

pub(super) fn u32(from: &[u8], at: usize) -> Option<u32> {
    bytes(from, at).map(u32::from_be_bytes)
}

pub(super) fn i64(from: &[u8], at: usize) -> Option<i64> {
    bytes(from, at).map(i64::from_be_bytes)
}
