//! The guard against the codec (rule X1): what it lets through decodes to the last byte, what it refuses never reaches the codec,
//! and nothing allocates by a number that a stranger wrote.
//!
//! Frames are made from the guard's own table, at random from printed seeds. That the codec decodes them all, and encodes them back to
//! the same bytes, proves that table and codec mean the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

#[path = "guard_hostile/allocations.rs"]
mod allocations;
#[path = "guard_hostile/codec.rs"]
mod codec;
#[path = "guard_hostile/sample.rs"]
mod sample;

use bytes::Bytes;
use ketcd::protocol::apis::{APIS, Api};
use ketcd::protocol::fetch_request::FetchRequest;
use ketcd::protocol::guard::{self, GuardError};
use ketcd::protocol::produce_body::ProduceRequest;

use sample::{Mark, Sample, Tags};

/// Decoding may allocate this many bytes for each byte of the body, and [`ALLOCATED_FLOOR`] besides.
const ALLOCATED_PER_BYTE: usize = 128;
const ALLOCATED_FLOOR: usize = 16 << 10;

fn each_version() -> impl Iterator<Item = (&'static Api, i16)> {
    APIS.iter().flat_map(|api| (api.version_min..=api.version_max).map(move |version| (api, version)))
}

#[test]
fn every_api_and_version_round_trips_through_guard_and_codec() {
    for (api, version) in each_version() {
        for seed in 0..24 {
            let tags = [Tags::None, Tags::Known, Tags::Unknown][seed as usize % 3];
            let sample = Sample::random(api, version, seed, tags);
            let context = format!("{} v{version} seed {seed} {tags:?}: {:02x?}", api.name, sample.bytes);
            let checked = guard::check(api.key, version, &sample.bytes)
                .unwrap_or_else(|error| panic!("guard refuses: {error}; {context}"));
            assert_eq!(checked.trailing_bytes, 0, "{context}");
            let trip = codec::round_trip(api.key, version, &sample.bytes)
                .unwrap_or_else(|error| panic!("codec refuses: {error}; {context}"));
            assert_eq!(trip.left, 0, "codec leaves bytes; {context}");
            assert_eq!(trip.encoded, sample.bytes, "codec encodes otherwise; {context}");
        }
    }
}

#[test]
fn every_truncation_of_a_valid_body_is_refused() {
    let mut cases = 0;
    for (api, version) in each_version() {
        for seed in 100..103 {
            let body = Bytes::from(Sample::random(api, version, seed, Tags::Known).bytes);
            for end in 0..body.len() {
                let cut = body.slice(..end);
                let refused = guard::check(api.key, version, &cut);
                assert!(refused.is_err(), "{} v{version} seed {seed} cut at {end}: {refused:?}", api.name);
                assert!(own_decoder_refuses(api.key, version, &cut), "{} v{version} cut at {end}", api.name);
                cases += 1;
            }
        }
    }
    assert!(cases >= 40_000, "{cases} cases");
}

/// Whether our own decoder, where the API has one, refuses the body as the guard does.
fn own_decoder_refuses(key: i16, version: i16, body: &Bytes) -> bool {
    match key {
        0 => ProduceRequest::decode(body, version).is_err(),
        1 => FetchRequest::decode(body, version).is_err(),
        _ => true,
    }
}

#[test]
fn bytes_after_the_last_field_are_counted_not_refused() {
    for (api, version) in each_version() {
        let mut body = Sample::random(api, version, 7, Tags::None).bytes;
        body.extend_from_slice(&[1, 2, 3]);
        assert_eq!(guard::check(api.key, version, &body).map(|it| it.trailing_bytes), Ok(3), "{}", api.name);
    }
}

#[test]
fn hostile_counts_and_lengths_never_allocate_more_than_the_body_is_worth() {
    let (mut cases, mut refused) = (0, 0);
    for (api, version) in each_version() {
        for (seed, tags) in [(200, Tags::None), (201, Tags::Known), (202, Tags::Unknown)] {
            let sample = Sample::random(api, version, seed, tags);
            for mark in &sample.marks {
                for hostile in mark.hostile(sample.bytes.len()) {
                    let body = Bytes::from(sample.with(mark, &hostile));
                    let context = format!("{} v{version} seed {seed} {mark:?} -> {hostile:02x?}", api.name);
                    refused += usize::from(attack(api, version, &body, &context));
                    cases += 1;
                }
            }
        }
    }
    println!("{cases} cases, {refused} refused by the guard");
    assert!(cases >= 60_000, "{cases} cases");
    assert!(refused * 2 > cases, "only {refused} of {cases} refused");
}

#[test]
fn noise_never_allocates_more_than_it_is_worth() {
    for (api, version) in each_version() {
        let mut sample = Sample::random(api, version, 400, Tags::Unknown).bytes;
        for seed in 0..150u64 {
            let noise = sample::noise(seed ^ ((api.key as u64) << 32), 1 + seed as usize % 90);
            let context = || format!("{} v{version} noise {seed}", api.name);
            attack(api, version, &noise.clone().into(), &context());
            // A valid body with noise in the middle, worse in every round.
            if !sample.is_empty() {
                let at = (noise[0] as usize * 257) % sample.len();
                sample[at] = noise[noise.len() - 1];
                attack(api, version, &sample.clone().into(), &context());
            }
        }
    }
}

/// Gives the body to the guard, and what it lets through to the codec and to our decoders. Returns whether the guard refused.
fn attack(api: &Api, version: i16, body: &Bytes, context: &str) -> bool {
    let mut verdict = Ok(());
    let allocated = allocations::during(|| verdict = guard::check(api.key, version, body).map(|_| ()));
    assert_eq!(allocated, 0, "the guard allocates; {context}");

    let limit = body.len() * ALLOCATED_PER_BYTE + ALLOCATED_FLOOR;
    let allocated = allocations::during(|| match api.key {
        0 => drop(ProduceRequest::decode(body, version)),
        1 => drop(FetchRequest::decode(body, version)),
        _ => (),
    });
    assert!(allocated <= limit, "our decoder allocates {allocated} > {limit} bytes; {context}");

    if verdict.is_ok() {
        let allocated = allocations::during(|| {
            codec::decode(api.key, version, body);
        });
        assert!(allocated <= limit, "codec allocates {allocated} > {limit} bytes; {context}");
    }
    verdict.is_err()
}

#[test]
fn the_body_of_five_bytes_that_asked_the_codec_for_gigabytes_is_refused() {
    let body = [0x03, 0x3c, 0x0c, 0x00, 0xb6];
    let error = guard::check(3, 0, &body).unwrap_err();
    assert_eq!(error, GuardError::Length { field: "Topics", length: 0x033c_0c00, remaining: 1 });
}

#[test]
fn arrays_within_arrays_share_one_limit_of_elements() {
    // Fetch v4 with 1,100 topics of 1,000 partitions each would be 1,101,100 elements.
    let partition = [0u8; 16];
    let topic = [&[0, 1, b'a'][..], &1000i32.to_be_bytes(), &partition.repeat(1000)].concat();
    let head = [0u8; 17];
    let body = |topics: i32| [&head[..], &topics.to_be_bytes(), &topic.repeat(topics as usize)].concat();
    assert_eq!(guard::check(1, 4, &body(900)).map(|it| (it.trailing_bytes, it.elements)), Ok((0, 900_900)));
    assert_eq!(guard::check(1, 4, &body(1100)), Err(GuardError::TooManyElements { field: "Partitions" }));
}

#[test]
fn what_an_element_costs_the_codec_is_near_what_the_guard_says() {
    // Metadata v0 (empty names of 2 bytes each) is the worst: the least bytes for the largest struct.
    let count = 100_000usize;
    let body = [&(count as i32).to_be_bytes()[..], &vec![0; 2 * count]].concat();
    let body = Bytes::from(body);
    let checked = guard::check(3, 0, &body).unwrap();
    assert_eq!(checked.elements, count);
    let allocated = allocations::during(|| assert!(codec::decode(3, 0, &body)));
    assert!(allocated <= checked.memory_bytes(), "{} bytes each", allocated / count);
}

#[test]
fn tags_that_do_not_ascend_and_unknown_tags_without_end_are_refused() {
    // ApiVersions v3: two empty texts, then tagged fields.
    let body = |tags: &[u8]| [&[1, 1][..], tags].concat();
    assert!(guard::check(18, 3, &body(&[2, 5, 0, 6, 1, 9])).is_ok());
    let order = GuardError::TagOrder { tag: 5, previous: 5 };
    assert_eq!(guard::check(18, 3, &body(&[2, 5, 0, 5, 0])), Err(order));
    let order = GuardError::TagOrder { tag: 4, previous: 5 };
    assert_eq!(guard::check(18, 3, &body(&[2, 5, 0, 4, 0])), Err(order));

    let mut many = Vec::new();
    ketcd::protocol::varint::put_u32(&mut many, 10_001);
    for tag in 0..10_001 {
        ketcd::protocol::varint::put_u32(&mut many, tag);
        many.push(0);
    }
    assert_eq!(guard::check(18, 3, &body(&many)), Err(GuardError::TooManyTaggedFields));
}

#[test]
fn a_known_tagged_field_must_fill_its_size() {
    // Fetch v12 with the cluster id "ab" as tag 0.
    let body = |field: &[u8]| [&[0u8; 25][..], &[1, 1, 1, 1, 0], field].concat();
    assert_eq!(guard::check(1, 12, &body(&[3, 3, b'a', b'b'])).map(|it| it.trailing_bytes), Ok(0));
    let error = Err(GuardError::TagSize { field: "ClusterId" });
    assert_eq!(guard::check(1, 12, &body(&[4, 3, b'a', b'b', 0])), error);
    assert!(guard::check(1, 12, &body(&[2, 3, b'a', b'b'])).is_err());
}

#[test]
fn only_versions_that_decode_are_known() {
    for key in -1..130 {
        for version in -1..32 {
            let decodes = APIS
                .iter()
                .any(|api| api.key == key && (api.version_min..=api.version_max).contains(&version));
            assert_eq!(guard::knows(key, version), decodes, "{key} v{version}");
            let unknown = guard::check(key, version, &[]) == Err(GuardError::Unknown { key, version });
            assert_eq!(unknown, !decodes, "{key} v{version}");
        }
    }
    // Versions that Kafka has and the codec has not (its own ranges say otherwise for some).
    for (key, version) in [(2, 11), (8, 10), (9, 10), (22, 6), (27, 2), (35, 5), (78, 2), (85, 1), (90, 1)] {
        assert!(!guard::knows(key, version), "{key} v{version}");
    }
}

#[test]
fn every_known_api_has_its_codec_in_this_test() {
    assert_eq!(codec::keys(), APIS.iter().map(|api| api.key).collect::<Vec<_>>());
}

#[test]
fn our_own_decoders_read_what_the_codec_reads() {
    for (api, version) in each_version().filter(|(api, _)| api.key <= 1) {
        for seed in 300..340 {
            let tags = if seed % 2 == 0 { Tags::Known } else { Tags::Unknown };
            let body = Bytes::from(Sample::random(api, version, seed, tags).bytes);
            codec::compare_with_ours(api.key, version, &body);
        }
    }
}

#[test]
fn marks_stand_where_the_numbers_stand() {
    let api = APIS.iter().find(|api| api.key == 3).unwrap();
    let sample = Sample::random(api, 12, 1, Tags::None);
    let same: &Mark = &sample.marks[0];
    assert_eq!(sample.with(same, &same.original(&sample)), sample.bytes);
}
