//! Snappy in the framing of xerial's `SnappyOutputStream`, which is what Kafka means by snappy, and as one raw block.
//!
//! Framed: magic of 8 bytes, version and compatible version (i32 each), then blocks: an i32 length and that many bytes of raw
//! snappy. A raw block begins with its uncompressed length as a varint, so the bound is checked before anything is allocated.

use super::compression::{Bound, CompressionError};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Version 1, compatible from 1.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// Uncompressed size of a block, as the Java client cuts them.
const BLOCK_BYTES: usize = 32 << 10;
/// A copy of at most 64 bytes takes at least 3 bytes, so an honest block grows less than this.
const RATIO_MAX: usize = 32;

pub(super) fn compress(data: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(MAGIC.len() + VERSIONS.len() + data.len() / 2);
    framed.extend_from_slice(&MAGIC);
    framed.extend_from_slice(&VERSIONS);
    let mut encoder = snap::raw::Encoder::new();
    for block in data.chunks(BLOCK_BYTES) {
        let block = encoder.compress_vec(block).expect("a block of 32 KiB is compressible");
        framed.extend_from_slice(&u32::try_from(block.len()).unwrap_or(u32::MAX).to_be_bytes());
        framed.extend_from_slice(&block);
    }
    framed
}

pub(super) fn decompress(data: &[u8], bound: &Bound) -> Result<Vec<u8>, CompressionError> {
    let mut output = Vec::new();
    let Some(mut rest) = data.strip_prefix(&MAGIC) else {
        append_block(data, &mut output, bound)?;
        return Ok(output);
    };
    rest = rest.get(VERSIONS.len()..).ok_or_else(|| bound.malformed("no xerial header"))?;
    while !rest.is_empty() {
        let (length, after) =
            rest.split_first_chunk::<4>().ok_or_else(|| bound.malformed("truncated block length"))?;
        let length = usize::try_from(i32::from_be_bytes(*length))
            .map_err(|_| bound.malformed("negative block length"))?;
        let (block, after) =
            after.split_at_checked(length).ok_or_else(|| bound.malformed("truncated block"))?;
        append_block(block, &mut output, bound)?;
        rest = after;
    }
    Ok(output)
}

fn append_block(block: &[u8], output: &mut Vec<u8>, bound: &Bound) -> Result<(), CompressionError> {
    let declared = snap::raw::decompress_len(block).map_err(|error| bound.malformed(error))?;
    if declared > bound.limit_bytes.saturating_sub(output.len()) {
        return Err(bound.too_large());
    }
    if declared > block.len().saturating_mul(RATIO_MAX) {
        return Err(bound.malformed("declared length is impossible for the block's size"));
    }
    let from = output.len();
    output.resize(from + declared, 0);
    let place = output.get_mut(from..).unwrap_or_default();
    let written =
        snap::raw::Decoder::new().decompress(block, place).map_err(|error| bound.malformed(error))?;
    output.truncate(from + written);
    Ok(())
}
