//! Codecs: their framings byte for byte where another implementation fixes them, and bombs.

use std::io::Write as _;

use proptest::prelude::*;

use super::compression::{Codec, CompressionError, RATIO_FREE_BYTES, compress, decompress};

const MIB: usize = 1 << 20;

fn is_too_large(outcome: Result<std::borrow::Cow<'_, [u8]>, CompressionError>) -> bool {
    matches!(outcome, Err(CompressionError::TooLarge { .. }))
}

fn is_malformed(outcome: Result<std::borrow::Cow<'_, [u8]>, CompressionError>) -> bool {
    matches!(outcome, Err(CompressionError::Malformed { .. }))
}

fn text(bytes: usize) -> Vec<u8> {
    b"the quick brown fox ".iter().copied().cycle().take(bytes).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::property_cases(32)))]

    #[test]
    fn what_is_compressed_comes_back(noise in proptest::collection::vec(any::<u8>(), 0..5000), repeat in 1usize..40) {
        let data = noise.repeat(repeat);
        for codec in Codec::ALL {
            let compressed = compress(codec, None, &data);
            let output = decompress(codec, &compressed, data.len()).unwrap();
            prop_assert_eq!(output.as_ref(), data.as_slice(), "{:?}", codec);
        }
    }

    #[test]
    fn noise_and_torn_streams_never_panic(noise in proptest::collection::vec(any::<u8>(), 0..400), cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>()) {
        for codec in Codec::ALL {
            let _ = decompress(codec, &noise, MIB);
            let mut compressed = compress(codec, None, &noise);
            if !compressed.is_empty() {
                let at = flip.index(compressed.len());
                compressed[at] ^= 0x55;
                let _ = decompress(codec, &compressed, MIB);
                compressed.truncate(cut.index(compressed.len()));
                let _ = decompress(codec, &compressed, MIB);
            }
        }
    }
}

#[test]
fn levels_out_of_range_are_brought_into_it() {
    let data = text(50_000);
    for codec in Codec::ALL {
        for level in [i32::MIN, -1, 0, 1, 9, 17, 22, i32::MAX] {
            let compressed = compress(codec, Some(level), &data);
            assert_eq!(decompress(codec, &compressed, data.len()).unwrap(), data, "{codec:?} {level}");
        }
    }
}

#[test]
fn output_of_exactly_the_bound_passes_and_one_byte_more_does_not() {
    let data = text(200_000);
    for codec in Codec::ALL {
        let compressed = compress(codec, None, &data);
        assert!(decompress(codec, &compressed, data.len()).is_ok(), "{codec:?}");
        assert!(is_too_large(decompress(codec, &compressed, data.len() - 1)), "{codec:?}");
    }
}

#[test]
fn truncated_streams_are_malformed_not_short() {
    let data = text(300_000);
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let compressed = compress(codec, None, &data);
        for end in [0, 1, 3, 10, compressed.len() / 2, compressed.len() - 1] {
            let outcome = decompress(codec, &compressed[..end], data.len());
            // An empty stream is not one: the readers take it for the end of the input.
            let empty = matches!(&outcome, Ok(output) if end == 0 && output.is_empty());
            assert!(empty || is_malformed(outcome), "{codec:?} {end}");
        }
    }
    let compressed = compress(Codec::Snappy, None, &data);
    assert!(is_malformed(decompress(Codec::Snappy, &compressed[..compressed.len() - 1], data.len())));
}

#[test]
fn xerial_framing_is_what_the_java_client_writes() {
    let data = text(70_000);
    let framed = compress(Codec::Snappy, None, &data);
    assert_eq!(&framed[..16], [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    let length = u32::from_be_bytes(framed[16..20].try_into().unwrap()) as usize;
    assert_eq!(snap::raw::decompress_len(&framed[20..20 + length]).unwrap(), 32 << 10);
}

#[test]
fn raw_snappy_is_read_too() {
    let data = text(70_000);
    let raw = snap::raw::Encoder::new().compress_vec(&data).unwrap();
    assert_eq!(decompress(Codec::Snappy, &raw, data.len()).unwrap(), data);
    assert!(is_too_large(decompress(Codec::Snappy, &raw, data.len() - 1)));
}

#[test]
fn a_snappy_block_is_judged_by_its_declared_length_before_anything_is_reserved() {
    let four_gib = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    assert!(is_too_large(decompress(Codec::Snappy, &four_gib, 100 * MIB)));
    let xerial = [compress(Codec::Snappy, None, &[]), vec![0, 0, 0, 7], four_gib.to_vec()].concat();
    assert!(is_too_large(decompress(Codec::Snappy, &xerial, 100 * MIB)));
    // 1 MiB from 5 bytes: within the bound, but no snappy block can grow so.
    let one_mib = [0x80, 0x80, 0x40, 0, 0];
    assert!(is_malformed(decompress(Codec::Snappy, &one_mib, 100 * MIB)));
    for length in [-1i32, i32::MIN, i32::MAX, 8] {
        let bad = [compress(Codec::Snappy, None, &[]), length.to_be_bytes().to_vec(), vec![0; 7]].concat();
        assert!(is_malformed(decompress(Codec::Snappy, &bad, MIB)), "{length}");
    }
}

#[test]
fn bombs_stop_at_the_bound() {
    let zeros = vec![0u8; 8 * MIB];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = compress(codec, None, &zeros);
        assert!(bomb.len() < MIB / 2, "{codec:?} {}", bomb.len());
        assert!(is_too_large(decompress(codec, &bomb, MIB)), "{codec:?}");
    }
}

#[test]
fn a_ratio_that_no_records_have_is_refused_below_the_bound() {
    let zeros = vec![0u8; 2 * RATIO_FREE_BYTES];
    let bomb = compress(Codec::Zstd, None, &zeros);
    assert!(bomb.len() * 1024 < zeros.len(), "{}", bomb.len());
    assert!(is_too_large(decompress(Codec::Zstd, &bomb, 100 * MIB)));
    // So much is what any test of throughput with zeros sends.
    let modest = compress(Codec::Zstd, None, &zeros[..RATIO_FREE_BYTES]);
    assert_eq!(decompress(Codec::Zstd, &modest, 100 * MIB).unwrap().len(), RATIO_FREE_BYTES);
}

#[test]
fn a_zstd_window_above_8_mib_is_refused() {
    let data = text(10 * MIB);
    let with_window = |log: u32| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(&data).unwrap();
        encoder.finish().unwrap()
    };
    assert!(decompress(Codec::Zstd, &with_window(23), data.len()).is_ok());
    assert!(is_malformed(decompress(Codec::Zstd, &with_window(24), data.len())));
    assert!(is_malformed(decompress(Codec::Zstd, &with_window(27), data.len())));
}

#[test]
fn several_gzip_members_are_one_stream_as_in_java() {
    let two = [compress(Codec::Gzip, None, b"one "), compress(Codec::Gzip, None, b"two")].concat();
    assert_eq!(decompress(Codec::Gzip, &two, 100).unwrap(), b"one two".as_slice());
}

#[test]
fn lz4_frames_that_kafkas_reader_refuses_are_refused() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let data = text(200_000);
    let frame = |info: FrameInfo| {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&data).unwrap();
        encoder.finish().unwrap()
    };
    let independent = || FrameInfo::new().block_mode(BlockMode::Independent);
    for info in [
        independent().block_size(BlockSize::Max64KB),
        independent().block_size(BlockSize::Max4MB).block_checksums(true),
        independent().content_checksum(true),
        independent().content_size(Some(data.len() as u64)),
    ] {
        assert_eq!(decompress(Codec::Lz4, &frame(info), data.len()).unwrap(), data);
    }
    let linked = frame(FrameInfo::new().block_mode(BlockMode::Linked));
    assert!(is_malformed(decompress(Codec::Lz4, &linked, data.len())));
    let legacy = [&[0x02, 0x21, 0x4c, 0x18][..], &[0; 4]].concat();
    assert!(is_malformed(decompress(Codec::Lz4, &legacy, data.len())));

    let mut wrong_size = frame(independent().content_size(Some(data.len() as u64)));
    wrong_size[6] ^= 1;
    assert!(is_malformed(decompress(Codec::Lz4, &wrong_size, data.len())));
}

#[test]
fn what_lz4_writes_is_the_header_of_the_java_client() {
    // Version 1, independent blocks, 64 KiB, nothing else; then the header's checksum.
    assert_eq!(compress(Codec::Lz4, None, b"abc")[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
}

#[test]
fn names_and_numbers_are_kafkas() {
    for codec in Codec::ALL {
        assert_eq!(Codec::from_id(codec.id()), Some(codec));
        assert_eq!(Codec::from_name(codec.name()), Some(codec));
    }
    assert_eq!(Codec::from_name("uncompressed"), Some(Codec::None));
    assert_eq!((Codec::from_id(5), Codec::from_name("brotli")), (None, None));
}
