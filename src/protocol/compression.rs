//! The four codecs in the framings that Kafka's clients read and write, with bounds that hold against hostile input (rule X4).
//!
//! - gzip: one or more members.
//! - snappy: xerial's stream of blocks (what the Java client writes, and we), or one raw block (what librdkafka may write).
//! - lz4: the frame format with independent blocks, as `KafkaLZ4BlockInputStream`.
//! - zstd: any level whose window is at most 8 MiB.
//!
//! Decompression streams into a buffer that grows with what really comes out. It stops at `max_bytes` and at [`RATIO_MAX`].

use std::borrow::Cow;
use std::io::{self, Read, Write};

use super::{lz4, snappy};

/// Output may be this many times the input once it is larger than [`RATIO_FREE_BYTES`]. Records of zeros stay far below it unless
/// a batch holds tens of megabytes of them.
pub const RATIO_MAX: usize = 1024;
/// Output of this size is never refused for its ratio.
pub const RATIO_FREE_BYTES: usize = 16 << 20;
/// Largest window of a zstd frame: 2^23 bytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a batch's records are compressed. The number is that of the batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Blocks in xerial's framing.
    Snappy = 2,
    /// LZ4's frame format.
    Lz4 = 3,
    /// RFC 8878 (KIP-110).
    Zstd = 4,
}

impl Codec {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of a number of the attributes; `None` for a number without one.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The number in the attributes.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The name in `compression.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec of a name in `compression.type`. `uncompressed` is the topic key's word for `none`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "uncompressed" => Some(Self::None),
            _ => Self::ALL.into_iter().find(|codec| codec.name() == name),
        }
    }
}

/// Why bytes do not decompress.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// The output is, or declares to be, larger than the bound or than the ratio allows.
    #[error("{codec} data of {compressed_bytes} bytes expands to more than {limit_bytes} bytes", codec = codec.name())]
    TooLarge {
        /// How the data claims to be compressed.
        codec: Codec,
        /// Size of the input.
        compressed_bytes: usize,
        /// The bound that was reached.
        limit_bytes: usize,
    },
    /// The bytes are not what the codec writes.
    #[error("{codec} data is malformed: {reason}", codec = codec.name())]
    Malformed {
        /// How the data claims to be compressed.
        codec: Codec,
        /// What the decoder says.
        reason: String,
    },
}

/// Compresses `data`. `level` is that of `compression.gzip.level` or `compression.zstd.level`, brought into the codec's range;
/// `None` is Kafka's default. LZ4 and snappy have one level here.
#[must_use]
pub fn compress(codec: Codec, level: Option<i32>, data: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => data.to_vec(),
        Codec::Gzip => {
            let level =
                level.and_then(|level| u32::try_from(level).ok()).map_or(6, |level| level.clamp(1, 9));
            let buffer = Vec::with_capacity(data.len() / 2);
            let mut encoder = flate2::write::GzEncoder::new(buffer, flate2::Compression::new(level));
            encoder.write_all(data).and_then(|()| encoder.finish()).expect("memory takes every write")
        }
        Codec::Snappy => snappy::compress(data),
        Codec::Lz4 => lz4::compress(data),
        Codec::Zstd => {
            let levels = zstd::compression_level_range();
            let level = level.unwrap_or(3).clamp(*levels.start(), *levels.end());
            let mut buffer = Vec::with_capacity(data.len() / 2);
            let mut encoder = zstd::stream::write::Encoder::new(&mut buffer, level)
                .expect("a level in range makes an encoder");
            // The highest levels would choose windows that no bounded reader accepts.
            encoder
                .window_log(ZSTD_WINDOW_LOG_MAX.min(window_log(data.len())))
                .expect("a window in range is set");
            encoder.write_all(data).and_then(|()| encoder.finish()).expect("memory takes every write");
            buffer
        }
    }
}

/// Smallest zstd window that holds all of `bytes`, at least 1 KiB.
fn window_log(bytes: usize) -> u32 {
    (usize::BITS - bytes.saturating_sub(1).leading_zeros()).max(10)
}

/// Decompresses the records of a batch. For [`Codec::None`] the input is lent back.
///
/// # Errors
/// [`CompressionError::TooLarge`] as soon as the output is known to be larger than `max_bytes` or than the ratio allows;
/// [`CompressionError::Malformed`] for anything that the codec does not accept, a truncated stream included.
///
/// # Cost
/// Memory: at most twice the output, and the decoder's own state (at most 8 MiB for zstd, 4 MiB for lz4).
pub fn decompress(codec: Codec, data: &[u8], max_bytes: usize) -> Result<Cow<'_, [u8]>, CompressionError> {
    let limit_bytes = max_bytes.min(RATIO_FREE_BYTES.max(data.len().saturating_mul(RATIO_MAX)));
    let bound = Bound { codec, compressed_bytes: data.len(), limit_bytes };
    match codec {
        Codec::None => {
            if data.len() > max_bytes {
                return Err(bound.too_large());
            }
            return Ok(Cow::Borrowed(data));
        }
        Codec::Gzip => bound.read(flate2::bufread::MultiGzDecoder::new(data)),
        Codec::Snappy => snappy::decompress(data, &bound),
        Codec::Lz4 => lz4::decompress(data, &bound),
        Codec::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(data).map_err(|error| bound.malformed(error))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| bound.malformed(error))?;
            bound.read(decoder)
        }
    }
    .map(Cow::Owned)
}

/// How much may come out of one decompression.
pub(super) struct Bound {
    codec: Codec,
    compressed_bytes: usize,
    pub(super) limit_bytes: usize,
}

impl Bound {
    pub(super) fn too_large(&self) -> CompressionError {
        let Self { codec, compressed_bytes, limit_bytes } = *self;
        CompressionError::TooLarge { codec, compressed_bytes, limit_bytes }
    }

    pub(super) fn malformed(&self, reason: impl ToString) -> CompressionError {
        CompressionError::Malformed { codec: self.codec, reason: reason.to_string() }
    }

    /// Reads all that `decoder` gives, one byte past the bound at most.
    pub(super) fn read(&self, decoder: impl Read) -> Result<Vec<u8>, CompressionError> {
        let guess = self.compressed_bytes.saturating_mul(3).min(self.limit_bytes).min(RATIO_FREE_BYTES);
        let mut output = Vec::with_capacity(guess);
        let most = u64::try_from(self.limit_bytes).unwrap_or(u64::MAX).saturating_add(1);
        let read: io::Result<usize> = decoder.take(most).read_to_end(&mut output);
        read.map_err(|error| self.malformed(error))?;
        if output.len() > self.limit_bytes { Err(self.too_large()) } else { Ok(output) }
    }
}
