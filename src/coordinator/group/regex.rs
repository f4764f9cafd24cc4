//! Subscriptions by pattern, in RE2's syntax (KIP-848), and the hash of the topics that a group reads (KIP-1101).
//!
//! Kafka compiles patterns with RE2/J and asks whether they match the *whole* name of a topic; internal topics are matched as all
//! others. The `regex` crate is linear in the name as RE2 is; [`re2`] turns what the two read differently.

mod re2;

use std::sync::Arc;

use ::regex::bytes::{Regex, RegexBuilder};

use super::command::Name;
use crate::metadata::image::{ClusterImage, TopicImage};

/// Memory of a compiled pattern, in bytes.
const COMPILED_BYTES_MAX: usize = 4 << 20;
/// Memory of its lazily built automaton, in bytes.
const AUTOMATON_BYTES_MAX: usize = 1 << 20;
/// How deep groups and repetitions may be nested (RE2's limit is 1000).
const NEST_MAX: u32 = 250;
/// Length of all topic names that a pattern may match, in bytes: they must fit into one record of `__consumer_offsets`.
const RESOLVED_BYTES_MAX: usize = 900_000;

/// A compiled pattern. Cheap to clone. Matches in time linear in the name.
#[derive(Debug, Clone)]
pub struct TopicPattern(Arc<Regex>);

/// Why a text is no pattern: the message that goes with INVALID_REGULAR_EXPRESSION.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {reason}.")]
pub struct InvalidPattern {
    /// As given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A pattern matches more names than a record can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pattern matches topics whose names have more than {RESOLVED_BYTES_MAX} bytes")]
pub struct TooManyTopics;

impl TopicPattern {
    /// Compiles `pattern`.
    ///
    /// # Errors
    /// [`InvalidPattern`] for what RE2 refuses, and for patterns whose compiled form is larger than 4 MiB.
    pub fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        let invalid = |reason: String| InvalidPattern { pattern: pattern.to_owned(), reason };
        let translated = re2::translate(pattern).map_err(invalid)?;
        RegexBuilder::new(&format!(r"\A(?:{translated})\z"))
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(AUTOMATON_BYTES_MAX)
            .nest_limit(NEST_MAX)
            .build()
            .map(|regex| Self(Arc::new(regex)))
            .map_err(|error| invalid(reason(&error)))
    }

    /// Whether the whole of `topic` matches.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic.as_bytes())
    }

    /// The names of the topics that match, ascending.
    ///
    /// # Errors
    /// [`TooManyTopics`] if they would not fit into one record.
    ///
    /// # Cost
    /// One match per topic of the cluster: some 10 ns per byte of name.
    pub fn resolve(&self, image: &ClusterImage) -> Result<Vec<Name>, TooManyTopics> {
        let mut matched = Vec::new();
        let mut bytes = 0;
        for name in image.topic_names.keys().filter(|name| self.matches(name.as_str())) {
            bytes += name.as_str().len();
            if bytes > RESOLVED_BYTES_MAX {
                return Err(TooManyTopics);
            }
            matched.push(name.as_str().into());
        }
        Ok(matched)
    }
}

/// The last line of the crate's message says what is wrong; the lines before draw the pattern.
fn reason(error: &::regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    last.trim_start_matches("error: ").trim_end_matches('.').to_owned()
}

/// Hash of what a group knows of the topics that it reads: id, name and number of partitions of each that exists. 0 if there is none.
///
/// `names` in any order, each once: the hash is the sum of the hashes of the topics, never 0 by chance. It is the same on
/// every broker and in every version of ketcd; Kafka's own (XXH3) differs, which costs an upgraded group one more epoch. Unlike Kafka's it
/// leaves out racks: a broker's rack is only known while it is registered, so each restart of a broker would shake every group.
#[must_use]
pub fn metadata_hash<'a>(image: &ClusterImage, names: impl IntoIterator<Item = &'a str>) -> i64 {
    let hashes = names.into_iter().filter_map(|name| image.topic(name)).map(|topic| topic_hash(topic));
    match hashes.fold((false, 0_u64), |(_, sum), hash| (true, sum.wrapping_add(hash))) {
        (true, 0) => 1,
        (_, sum) => i64::from_be_bytes(sum.to_be_bytes()),
    }
}

/// 64-bit FNV-1a of a version byte, the topic's id, its name, a zero byte, and its number of partitions; mixed as splitmix64 does. Unmixed,
/// two topics that grow by one partition each could take from the sum what they add to it: the last byte of FNV only moves it by ±prime.
fn topic_hash(topic: &TopicImage) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const VERSION: u8 = 0;
    let id = topic.id.uuid().into_bytes();
    let partitions = topic.partitions.len().to_be_bytes();
    let hash = [VERSION]
        .iter()
        .chain(&id)
        .chain(topic.name.as_str().as_bytes())
        .chain(&[0])
        .chain(&partitions)
        .fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{TopicId, TopicName};
    use uuid::Uuid;

    fn image(topics: &[(&str, u128, usize)]) -> ClusterImage {
        let mut image = ClusterImage::default();
        for (name, id, partitions) in topics {
            let id = TopicId::new(Uuid::from_u128(*id)).unwrap();
            let name = TopicName::new(name).unwrap();
            let partition = crate::metadata::image::PartitionImage {
                replicas: Vec::new(),
                leader: None,
                leader_epoch: crate::types::LeaderEpoch(0),
                isr: Vec::new(),
                partition_epoch: crate::types::PartitionEpoch(0),
                ..crate::metadata::image::PartitionImage::assigned(Vec::new())
            };
            let partitions = (0..*partitions).map(|_| Arc::new(partition.clone())).collect();
            let topic = TopicImage { id, name: name.clone(), mod_revision: 1, deleting: false, partitions };
            image.topic_names.insert(name, id);
            image.topics.insert(id, Arc::new(topic));
        }
        image
    }

    fn matches(pattern: &str, topic: &str) -> bool {
        TopicPattern::new(pattern).unwrap().matches(topic)
    }

    #[test]
    fn a_pattern_must_match_the_whole_name() {
        assert!(matches("orders.*", "orders-eu"));
        assert!(!matches("orders", "orders-eu"));
        assert!(!matches("eu", "orders-eu"));
        assert!(matches("a|ab", "ab"), "any way through the pattern counts, not the first");
        assert!(matches("^x$", "x"));
        assert!(matches("", ""));
    }

    #[test]
    fn an_invalid_pattern_is_refused_with_the_sentence_of_kafka() {
        let error = TopicPattern::new("foo(").unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("SubscribedTopicRegex `foo(` is not a valid regular expression: "),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(TopicPattern::new("a)(b").is_err(), "parentheses of our own frame do not close it");
        assert!(TopicPattern::new("(?=x)").is_err());
        assert!(TopicPattern::new(r"(a)\1").is_err());
    }

    #[test]
    fn a_pattern_that_explodes_is_refused() {
        assert!(TopicPattern::new("((a{1000}){1000}){1000}").is_err());
        assert!(TopicPattern::new(&"(".repeat(10_000)).is_err());
        assert!(TopicPattern::new(&format!("{}a{}", "(".repeat(5000), ")".repeat(5000))).is_err());
    }

    #[test]
    fn a_pattern_of_a_thousand_names_is_not_too_large() {
        let names: Vec<_> = (0..1000).map(|i| format!("a-topic-with-a-long-name-{i}")).collect();
        assert!(matches(&names.join("|"), "a-topic-with-a-long-name-999"));
    }

    #[test]
    fn patterns_mean_what_they_mean_to_kafka() {
        let golden = include_str!("../../../tests/fixtures/golden/kafka-4.3.1/topic_patterns.txt");
        let mut lines = golden.lines().skip(1);
        let texts: Vec<_> = lines.next().unwrap().split('\t').skip(1).collect();
        let matches = |pattern: &TopicPattern| {
            texts.iter().map(|text| if pattern.matches(text) { '1' } else { '0' }).collect::<String>()
        };
        for line in lines {
            let (pattern, expected) = line.split_once('\t').unwrap();
            let got = TopicPattern::new(pattern).map_or_else(|_| "-".to_owned(), |pattern| matches(&pattern));
            assert_eq!(got, expected, "{pattern}");
        }
    }

    #[test]
    fn internal_topics_are_matched_as_all_others() {
        let image = image(&[("__consumer_offsets", 1, 1), ("orders", 2, 1), ("other", 3, 1)]);
        let found = TopicPattern::new(".*o[rn].*").unwrap().resolve(&image).unwrap();
        assert_eq!(found.iter().map(|n| &**n).collect::<Vec<_>>(), ["__consumer_offsets", "orders"]);
    }

    #[test]
    fn more_names_than_a_record_holds_are_refused() {
        let long = |i: usize| format!("{i:0>240}");
        let names: Vec<_> = (0..4000).map(long).collect();
        let topics: Vec<_> = names.iter().zip(1..).map(|(n, id)| (n.as_str(), id, 1)).collect();
        let image = image(&topics);
        assert_eq!(TopicPattern::new(".*").unwrap().resolve(&image), Err(TooManyTopics));
        assert_eq!(TopicPattern::new(".*7").unwrap().resolve(&image).unwrap().len(), 400);
    }

    #[test]
    fn the_hash_changes_with_what_a_group_reads_and_with_nothing_else() {
        let before = image(&[("a", 1, 2), ("b", 2, 2), ("other", 3, 3)]);
        let hash = |image: &ClusterImage, names: &[&str]| metadata_hash(image, names.iter().copied());
        let both = hash(&before, &["a", "b"]);
        assert_eq!(both, hash(&before, &["b", "a"]));
        assert_eq!(both, hash(&before, &["a", "b", "not-there"]));
        assert_eq!(both, hash(&image(&[("a", 1, 2), ("b", 2, 2)]), &["a", "b"]));
        assert_ne!(both, hash(&before, &["a"]));
        assert_ne!(both, hash(&image(&[("a", 1, 3), ("b", 2, 2)]), &["a", "b"]), "a topic grew");
        assert_ne!(both, hash(&image(&[("a", 9, 2), ("b", 2, 2)]), &["a", "b"]), "a topic was made anew");
        assert_eq!(hash(&before, &[]), 0);
        assert_eq!(hash(&before, &["not-there"]), 0);
        let sizes = (1..=16).flat_map(|a| (1..=16).map(move |b| (a, b)));
        let grown = sizes.map(|(a, b)| hash(&image(&[("a", 1, a), ("b", 2, b)]), &["a", "b"]));
        assert_eq!(
            grown.collect::<std::collections::BTreeSet<_>>().len(),
            256,
            "topics that change together"
        );
        assert_eq!(hash(&before, &["a"]), STORED, "records of the log hold this hash: it must never change");
    }

    /// Worked out by hand for topic `a`, id 1, two partitions.
    const STORED: i64 = -6_132_660_553_830_186_997;
}
