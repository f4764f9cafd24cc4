//! The metadata and assignments that classic consumers exchange through their group: `ConsumerProtocolSubscription` (versions 0 to 3)
//! and `ConsumerProtocolAssignment` (version 0 to 3, which are alike).
//!
//! They come from clients. Nothing is allocated that the bytes do not hold: a count is believed only as far as elements follow.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Partitions of topics by name.
pub type Partitions = Vec<(Arc<str>, Vec<i32>)>;

/// The newest version of both; newer ones are read as this one, which their rules allow.
const VERSION_MAX: i16 = 3;

/// What a classic consumer subscribes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// Topic names.
    pub topics: Vec<Arc<str>>,
    /// What it owns (version 1; cooperative members only).
    pub owned: Partitions,
    /// Its `client.rack` (version 3).
    pub rack: Option<Arc<str>>,
}

/// The bytes are none of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not of the embedded consumer protocol")]
pub struct Malformed;

/// The version that metadata begins with.
///
/// # Errors
/// [`Malformed`].
pub fn version(mut metadata: &[u8]) -> Result<i16, Malformed> {
    let version = metadata.try_get_i16().map_err(|_| Malformed)?;
    if version < 0 { Err(Malformed) } else { Ok(version.min(VERSION_MAX)) }
}

/// Reads a subscription.
///
/// # Errors
/// [`Malformed`].
pub fn subscription(metadata: &[u8]) -> Result<Subscription, Malformed> {
    let version = version(metadata)?;
    let mut bytes = metadata.get(2..).ok_or(Malformed)?;
    let topics = array(&mut bytes, string)?;
    user_data(&mut bytes)?;
    let owned = if version >= 1 { array(&mut bytes, topic)? } else { Vec::new() };
    if version >= 2 {
        bytes.try_get_i32().map_err(|_| Malformed)?;
    }
    let rack = if version >= 3 { nullable_string(&mut bytes)? } else { None };
    Ok(Subscription { topics, owned, rack })
}

/// Reads the topics of a subscription and does not look at what follows them: more than that nobody needs of a member whose group only
/// wants to know what is read (Kafka's `ConsumerProtocol.deserializeConsumerProtocolSubscription` for `computeSubscribedTopics`).
///
/// # Errors
/// [`Malformed`].
pub fn subscribed_topics(metadata: &[u8]) -> Result<Vec<Arc<str>>, Malformed> {
    version(metadata)?;
    array(&mut metadata.get(2..).ok_or(Malformed)?, string)
}

/// Reads an assignment. Says too whether the assignor left data of its own in it.
///
/// # Errors
/// [`Malformed`].
pub fn assignment(bytes: &[u8]) -> Result<(Partitions, bool), Malformed> {
    version(bytes)?;
    let mut bytes = bytes.get(2..).ok_or(Malformed)?;
    let partitions = array(&mut bytes, topic)?;
    let has_user_data = user_data(&mut bytes)? > 0;
    Ok((partitions, has_user_data))
}

/// Writes an assignment.
#[must_use]
pub fn encode_assignment(version: i16, partitions: &Partitions) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    put_count(&mut bytes, partitions.len());
    for (topic, indexes) in partitions {
        bytes.put_i16(i16::try_from(topic.len()).unwrap_or(i16::MAX));
        bytes.put_slice(topic.as_bytes());
        put_count(&mut bytes, indexes.len());
        indexes.iter().for_each(|index| bytes.put_i32(*index));
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

fn put_count(bytes: &mut BytesMut, count: usize) {
    bytes.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
}

fn array<T>(
    bytes: &mut &[u8],
    element: impl Fn(&mut &[u8]) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = bytes.try_get_i32().map_err(|_| Malformed)?;
    let count = usize::try_from(count).map_err(|_| Malformed)?;
    (0..count).map(|_| element(bytes)).collect()
}

fn topic(bytes: &mut &[u8]) -> Result<(Arc<str>, Vec<i32>), Malformed> {
    let name = string(bytes)?;
    let partitions = array(bytes, |bytes| bytes.try_get_i32().map_err(|_| Malformed))?;
    Ok((name, partitions))
}

fn string(bytes: &mut &[u8]) -> Result<Arc<str>, Malformed> {
    nullable_string(bytes)?.ok_or(Malformed)
}

fn nullable_string(bytes: &mut &[u8]) -> Result<Option<Arc<str>>, Malformed> {
    let length = bytes.try_get_i16().map_err(|_| Malformed)?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (text, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    std::str::from_utf8(text).map(|text| Some(text.into())).map_err(|_| Malformed)
}

/// Skips it; its length.
fn user_data(bytes: &mut &[u8]) -> Result<usize, Malformed> {
    let length = bytes.try_get_i32().map_err(|_| Malformed)?;
    if length == -1 {
        return Ok(0);
    }
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    *bytes = bytes.get(length..).ok_or(Malformed)?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 3: topics a and b, no user data, owns a-0 and a-1, generation 7, rack r.
    const SUBSCRIPTION: &[u8] = b"\x00\x03\x00\x00\x00\x02\x00\x01a\x00\x01b\xff\xff\xff\xff\
        \x00\x00\x00\x01\x00\x01a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x07\x00\x01r";

    #[test]
    fn a_subscription_is_read_in_every_version() {
        let owned = vec![("a".into(), vec![0, 1])];
        let topics = vec!["a".into(), "b".into()];
        let newest = Subscription { topics: topics.clone(), owned: owned.clone(), rack: Some("r".into()) };
        assert_eq!(subscription(SUBSCRIPTION), Ok(newest.clone()));
        let mut bytes = SUBSCRIPTION.to_vec();
        bytes[1] = 9;
        assert_eq!(subscription(&bytes), Ok(newest), "a later version begins with what we know");
        bytes[1] = 2;
        assert_eq!(subscription(&bytes), Ok(Subscription { topics: topics.clone(), owned, rack: None }));
        bytes[1] = 0;
        let oldest = Subscription { topics, ..Subscription::default() };
        assert_eq!(subscription(&bytes), Ok(oldest));
    }

    #[test]
    fn no_piece_of_a_subscription_is_one() {
        for length in 0..SUBSCRIPTION.len() {
            assert_eq!(subscription(&SUBSCRIPTION[..length]), Err(Malformed), "{length} bytes");
        }
        assert_eq!(subscription(b"\x00\x00\x7f\xff\xff\xff"), Err(Malformed), "two thousand million topics");
        assert_eq!(subscription(b"\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff"), Err(Malformed));
    }

    #[test]
    fn topics_are_read_whatever_follows_them() {
        let topics =
            subscribed_topics(b"\x00\x03\x00\x00\x00\x02\x00\x01b\x00\x02aa\xff\xff\xff\xffwhatever");
        assert_eq!(topics, Ok(vec!["b".into(), "aa".into()]));
        assert_eq!(subscribed_topics(b"\x00\x00\x00\x00\x00\x00"), Ok(vec![]));
    }

    #[test]
    fn topics_that_lie_about_their_size_are_not_read() {
        let malformed: [(&[u8], &str); 7] = [
            (b"", "nothing"),
            (b"\x00\x00\x7f\xff\xff\xff\x00\x01a", "more topics than bytes"),
            (b"\x00\x00\x00\x00\x00\x01\x00\x09a", "a longer name than bytes"),
            (b"\x00\x00\xff\xff\xff\xff", "a null array"),
            (b"\x00\x00\x00\x00\x00\x01\xff\xff", "a null name"),
            (b"\x00\x00\x00\x00\x00\x01\x00\x01\xff", "no UTF-8"),
            (b"\xff\xff\x00\x00\x00\x00", "a negative version"),
        ];
        for (bytes, what) in malformed {
            assert_eq!(subscribed_topics(bytes), Err(Malformed), "{what}");
        }
    }

    #[test]
    fn an_assignment_reads_what_it_writes() {
        let partitions = vec![("a".into(), vec![0, 2]), ("b".into(), vec![])];
        let bytes = encode_assignment(1, &partitions);
        assert_eq!(assignment(&bytes), Ok((partitions, false)));
        assert_eq!(
            &bytes[..],
            b"\x00\x01\x00\x00\x00\x02\x00\x01a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x02\
              \x00\x01b\x00\x00\x00\x00\xff\xff\xff\xff"
        );
    }
}
