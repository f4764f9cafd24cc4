//! LZ4's frame format as Kafka's Java client writes and reads it (`KafkaLZ4BlockInputStream`).
//!
//! A frame: magic, flags, block size code, optional content size (8 bytes), header checksum; blocks (u32 length, bytes, optional
//! checksum); an end mark of zero, optional content checksum. All little-endian.

use std::io::Write as _;

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::compression::{Bound, CompressionError};

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const VERSION_MASK: u8 = 0xc0;
const VERSION: u8 = 0x40;
const INDEPENDENT_BLOCKS: u8 = 0x20;
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
/// The highest bit of a block's length: the block is not compressed.
const STORED: u32 = 1 << 31;

pub(super) fn compress(data: &[u8]) -> Vec<u8> {
    // What the Java client writes: blocks of 64 KiB, independent, no checksums, no content size.
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(data.len() / 2));
    encoder.write_all(data).expect("memory takes every write");
    encoder.finish().expect("memory takes every write")
}

pub(super) fn decompress(data: &[u8], bound: &Bound) -> Result<Vec<u8>, CompressionError> {
    let frame = one_frame(data).map_err(|reason| bound.malformed(reason))?;
    bound.read(FrameDecoder::new(frame))
}

/// The frame at the beginning of `data`, whole: the crate takes a missing end for the end. Refuses what Kafka's reader refuses and
/// the crate would accept: other formats and versions, and blocks that refer to earlier blocks.
fn one_frame(data: &[u8]) -> Result<&[u8], &'static str> {
    const TRUNCATED: &str = "truncated frame";
    let (magic, rest) = data.split_first_chunk::<4>().ok_or(TRUNCATED)?;
    if *magic != MAGIC {
        return Err("not an lz4 frame");
    }
    let flags = *rest.first().ok_or(TRUNCATED)?;
    if flags & VERSION_MASK != VERSION {
        return Err("unknown frame version");
    }
    if flags & INDEPENDENT_BLOCKS == 0 {
        return Err("dependent blocks are not supported");
    }
    let optional = |flag: u8, bytes: usize| if flags & flag == 0 { 0 } else { bytes };
    // Flags, block size code, checksum of the header.
    let mut rest = rest.get(3 + optional(CONTENT_SIZE, 8)..).ok_or(TRUNCATED)?;
    loop {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(TRUNCATED)?;
        let length = u32::from_le_bytes(*length);
        if length == 0 {
            let after = after.get(optional(CONTENT_CHECKSUM, 4)..).ok_or(TRUNCATED)?;
            return Ok(data.get(..data.len() - after.len()).unwrap_or_default());
        }
        let block = usize::try_from(length & !STORED).map_err(|_| TRUNCATED)?;
        rest = after.get(block.saturating_add(optional(BLOCK_CHECKSUMS, 4))..).ok_or(TRUNCATED)?;
    }
}
